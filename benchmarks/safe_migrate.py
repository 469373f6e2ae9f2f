"""`safe_migrate --no-backup` beside Django's `migrate`, for a plan of many migrations and for none.

Both run as commands, start-up of Python and Django included, each time on a fresh database that
already has the tables of Django's own apps.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from psycopg import sql

from benchmarks.bench_database import Bench, bench
from benchmarks.machine import describe_machine
from benchmarks.pairs import Cost, Ratio, by_round, interleave, print_costs, print_ratios, run, walls
from tests.project.databases import PostgresDatabase, SqliteDatabase
from tests.project.runner import DJANGO, Project
from tests.sample_apps.many import write_many_migrations

APP = "many"
MOST = 1.15
# More than safe_migrate takes for small, so that it applies one migration after the other.
BIG_TABLE = """
    INSERT INTO many_trip (purpose, km)
    SELECT repeat(md5(n::text), 6), n FROM generate_series(1, 400000) AS n
"""
MIGRATE = ("migrate", APP, "--noinput")
SAFE_MIGRATE = ("safe_migrate", APP, "--no-backup", "--noinput")


@dataclass(frozen=True)
class Place:
    """A database to copy afresh for every run, and a project with the many migrations."""

    title: str
    project: Project
    fresh: Callable[[], str]
    server_pid: int | None = None

    def command(self, *argv: str) -> Cost:
        """Run a management command on a fresh copy."""
        env = self.project.env | {"DATABASE_URL": self.fresh()}
        return run([*DJANGO[:1], *DJANGO[3:], *argv], env, self.server_pid)


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench_") as directory:
        with bench(_below(directory, "postgresql"), options.major) as made:
            print("\n".join(describe_machine(Path(directory), [str(made.program("postgres"))])))
            ratios = []
            for place in (
                _on_postgresql(made, options.migrations),
                _with_big_table(made),
                _on_sqlite(_below(directory, "sqlite"), options.migrations),
            ):
                ratios += _compare(place, options.rounds)
        print_ratios("Goals", ratios)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--migrations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--major", type=int, default=15, help="of PostgreSQL; 15")
    return parser.parse_args()


def _compare(place: Place, rounds: int) -> list[Ratio]:
    for argv in (MIGRATE, SAFE_MIGRATE):
        place.command(*argv)  # compiles the migrations, and warms the caches
    jobs = {
        "migrate": lambda: place.command(*MIGRATE),
        "safe_migrate": lambda: place.command(*SAFE_MIGRATE),
    }
    costs = interleave(jobs, rounds)
    print_costs(place.title, costs)
    values = by_round(walls(costs["safe_migrate"]), walls(costs["migrate"]))
    return [Ratio(f"{place.title}: safe_migrate / migrate", values, MOST), *_nothing(place, rounds)]


def _nothing(place: Place, rounds: int) -> list[Ratio]:
    """All applied: the answer should come as fast as that of `migrate --check`."""
    url = place.fresh()
    env = place.project.env | {"DATABASE_URL": url}
    place.project.run(*MIGRATE, env=env, check=0)
    still = Place(f"{place.title}, nothing to do", place.project, lambda: url, place.server_pid)
    jobs = {
        "migrate --check": lambda: still.command("migrate", "--check"),
        "safe_migrate": lambda: still.command("safe_migrate", "--noinput"),
    }
    costs = interleave(jobs, rounds)
    print_costs(still.title, costs)
    values = by_round(walls(costs["safe_migrate"]), walls(costs["migrate --check"]))
    return [Ratio(f"{still.title}: safe_migrate / migrate --check", values, MOST)]


def _on_postgresql(made: Bench, migrations: int) -> Place:
    project = made.project
    project.run("migrate", check=0)
    project.with_apps(write_many_migrations(project.directory, migrations))
    return Place("PostgreSQL, new table", project, lambda: _copy(made, "bench"), made.server_pid)


def _with_big_table(made: Bench) -> Place:
    """The same migrations on a table that holds data, except the one that creates it."""
    base = PostgresDatabase(made.cluster, "big", _copy(made, "bench", name="big"))
    made.project.run("migrate", APP, "0001", env={"DATABASE_URL": base.url}, check=0)
    base.execute(BIG_TABLE)
    base.execute("VACUUM (FREEZE, ANALYZE)")
    title = "PostgreSQL, table of 100 MB"
    return Place(title, made.project, lambda: _copy(made, "big"), made.server_pid)


def _copy(made: Bench, template: str, *, name: str = "fresh") -> str:
    """Create a database as a copy of another, in place of the last copy; its URL."""
    made.cluster.drop_databases(name)
    made.cluster.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
            *map(sql.Identifier, (name, template, urlsplit(made.project.database.url).username))
        )
    )
    made.settle()
    return made.cluster.url(name)


def _on_sqlite(directory: Path, migrations: int) -> Place:
    database = SqliteDatabase(directory / "base.sqlite3")
    project = Project(directory, database)
    project.run("migrate", check=0)
    project.with_apps(write_many_migrations(directory, migrations))
    fresh = SqliteDatabase(directory / "fresh.sqlite3")

    def copy() -> str:
        shutil.copyfile(database.path, fresh.path)
        return fresh.url

    return Place("SQLite, new table", project, copy)


def _below(directory: str, name: str) -> Path:
    path = Path(directory, name)
    path.mkdir()
    return path


if __name__ == "__main__":
    main()
