"""A database of about 2 GB at scale 100: pgbench's tables and one wide one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from urllib.parse import urlsplit

from tests.clusters import APP_ROLE, PostgresCluster
from tests.project.databases import PostgresDatabase
from tests.project.runner import Project

# PostgreSQL's defaults, fsync and all; only so much WAL that a load is not all checkpoints.
SETTINGS = "max_wal_size = 4GB\n"
ROWS_PER_SCALE = 9000
WIDE_TABLE = """
    CREATE TABLE doc_event (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        person integer NOT NULL,
        moment timestamptz NOT NULL,
        amount integer NOT NULL,
        cents integer GENERATED ALWAYS AS (amount * 100) STORED,
        body jsonb NOT NULL,
        note text NOT NULL
    )
"""
FILL = """
    INSERT INTO doc_event (person, moment, amount, body, note)
    SELECT n %% 5000, timestamptz '2025-01-01 00:00Z' + n * interval '1 minute', n %% 461,
           jsonb_build_object('kind', 'trip', 'number', n, 'tags', ARRAY[md5(n::text), 'x' || n %% 97],
               'from', md5((n * 3)::text), 'to', md5((n * 7)::text)),
           repeat(md5((n * 11)::text), 4)
    FROM generate_series(1, %s) AS n
"""
INDEXES = (
    "CREATE INDEX ON doc_event (person, moment)",
    "CREATE INDEX ON doc_event USING gin (body jsonb_path_ops)",
)


@dataclass(frozen=True)
class Bench:
    """A running cluster with the database, and a Django project that knows it."""

    cluster: PostgresCluster
    project: Project

    @property
    def name(self) -> str:
        """Name of the database."""
        return self.project.database.name

    @property
    def env(self) -> dict[str, str]:
        """For programs of PostgreSQL: the server's own ones first, and where the server is."""
        server = {"PGHOST": str(self.cluster.directory), "PGPORT": str(self.cluster.port)}
        path = f"{self.cluster.bindir}:{self.project.env['PATH']}"
        return self.project.env | server | {"PGUSER": APP_ROLE, "PATH": path}

    @property
    def server_pid(self) -> int:
        """The postmaster."""
        return self.cluster.pids()[0]

    def program(self, name: str) -> Path:
        """A program of the server's own version."""
        return self.cluster.bindir / name

    def size_mb(self) -> float:
        """Size of the database on the server's disk."""
        [(size,)] = self.cluster.execute("SELECT pg_database_size(%s)", [self.name])
        return size / 2**20

    def checkpoint(self) -> None:
        """Write out what the run before left dirty, so that the next does not pay for it."""
        self.cluster.execute("CHECKPOINT")


@contextmanager
def bench(directory: Path, major: int, settings: str = "") -> Iterator[Bench]:
    """Start a cluster with an empty database and a project; all of it is gone afterwards."""
    cluster = PostgresCluster(major, settings=SETTINGS + settings).start()
    try:
        url = cluster.create_database(name="bench")
        database = PostgresDatabase(cluster, urlsplit(url).path.removeprefix("/"), url)
        yield Bench(cluster, Project(directory, database))
    finally:
        cluster.stop()


def fill(made: Bench, scale: int) -> None:
    """Fill the database; Django's own tables are there too."""
    pgbench = [made.program("pgbench"), "-i", "-s", str(scale), "--quiet", made.name]
    run(pgbench, env=made.env, check=True, capture_output=True)
    made.project.database.execute(WIDE_TABLE)
    made.project.database.execute(FILL, [ROWS_PER_SCALE * scale])
    for statement in INDEXES:
        made.project.database.execute(statement)
    made.project.run("migrate", check=0)
    made.project.database.execute("VACUUM (FREEZE, ANALYZE)")
    made.checkpoint()
