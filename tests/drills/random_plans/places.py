"""The databases of a run: copied from the deployed first release, and portrayed as a whole."""

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.clusters import PostgresCluster

KEPT = "deploy_ops_kept"
# Numbers and times that differ between two runs of the same migrations.
NATURAL = {
    "django_migrations": ("id", "applied"),
    "django_content_type": ("id",),
    "auth_permission": ("id", "content_type_id"),
}
PREPARED = {
    "both": [
        "CREATE TABLE plan_side (id bigint PRIMARY KEY, text text)",
        "CREATE TABLE plan_fixed (id bigint PRIMARY KEY, text text)",
        "INSERT INTO plan_side VALUES (1, 'side 1'), (2, 'side 2')",
        "INSERT INTO plan_fixed VALUES (1, 'fixed')",
        "INSERT INTO plan_trip (id, purpose, km, cost) VALUES (1, 'old 1', 10, 1.25),"
        " (2, 'old 2', 20, 2.5), (3, 'old 3', 30, 3), (4, 'old 4', 40, 4.75), (5, 'old 5', 50, 5)",
        "INSERT INTO plan_receipt (id, text, trip_id) VALUES (1, 'r 1', 1), (2, 'r 2', 2)",
    ],
    "postgresql": [
        "CREATE TABLE plan_parts (id bigint) PARTITION BY LIST (id)",
        "CREATE TABLE plan_parts_1 PARTITION OF plan_parts FOR VALUES IN (1)",
        "CREATE FUNCTION plan_touch() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER touch BEFORE UPDATE ON plan_receipt FOR EACH ROW"
        " EXECUTE FUNCTION plan_touch()",
    ],
    "sqlite": [],
}


@dataclass(frozen=True)
class Portrait:
    """The schema as the database writes it, and every row of every table; kept tables apart."""

    schema: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    kept: dict[str, tuple[str, ...]]

    def differences(self, wanted: "Portrait", *, ignore: list[str]) -> list[str]:
        """What is here and should not be (+), and what is missing (-)."""
        found = _differences(self.schema, wanted.schema)
        for table in sorted(self.rows.keys() | wanted.rows.keys()):
            lines = _differences(self.rows.get(table, ()), wanted.rows.get(table, ()))
            found += [f"{line} in {table}" for line in lines]
        return [line for line in found if not any(name in line for name in ignore)]


def _differences(now: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    left = list(wanted)
    more = []
    for line in now:
        if line in left:
            left.remove(line)
        else:
            more.append(f"+ {line}")
    return more + [f"- {line}" for line in left]


class Postgres:
    """Databases of a run on a PostgreSQL cluster."""

    vendor = "postgresql"

    def __init__(self, cluster: PostgresCluster) -> None:
        self.cluster = cluster
        self._count = 0
        self.base = self._name(cluster.create_database())

    def _name(self, url: str) -> str:
        return re.search(r"/(\w+)\?", url)[1]  # type: ignore[index]

    def copy(self) -> str:
        """A new database like the first release; its name."""
        self._count += 1
        name = f"{self.base[:14]}x{self._count}"
        statement = "CREATE DATABASE {} TEMPLATE {} OWNER app"
        names = sql.Identifier(name), sql.Identifier(self.base)
        self.cluster.execute(sql.SQL(statement).format(*names))
        return name

    def url(self, name: str) -> str:
        """For DATABASE_URL."""
        return self.cluster.url(name)

    def place(self, name: str) -> str:
        """What deeds connect to."""
        return self.cluster.url(name)

    def execute(self, name: str, statement: str) -> None:
        """One statement as the owner."""
        with closing(psycopg.connect(self.url(name), autocommit=True)) as session:
            session.execute(statement)

    def exists(self, name: str) -> bool:
        """Is there such a database?"""
        return name in self.cluster.databases()

    def drop(self, name: str) -> None:
        """Drop it and those beside it."""
        self.cluster.drop_databases(name)

    def recorded(self, name: str) -> set[str]:
        """Applied migrations of the plan."""
        query = "SELECT name FROM django_migrations WHERE app = 'plan'"
        return {row for (row,) in self.cluster.execute(query, dbname=name)}

    def portrait(self, name: str) -> Portrait:
        """All of it."""
        program = self.cluster.bindir / "pg_dump"
        argv = [
            program,
            "--schema-only",
            f"--exclude-schema={KEPT}",
            self.cluster.url(name, "postgres"),
        ]
        text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout
        lines = [x for x in text.splitlines() if x and not x.startswith(("--", "\\"))]
        with closing(self.cluster.connect(name)) as session:
            rows = _rows(
                session, f"nspname NOT IN ('information_schema') AND nspname !~ '^pg_' AND {DATA}"
            )
        kept = {table: found for table, found in rows.items() if table.startswith(f"{KEPT}.")}
        live = {table.removeprefix("public."): found for table, found in rows.items()}
        live = {table: found for table, found in live.items() if table not in kept}
        return Portrait(tuple(lines), live, kept)


# Who is alive changes by itself.
DATA = "relname <> 'deploy_ops_instance'"


def _rows(session: psycopg.Connection, where: str) -> dict[str, tuple[str, ...]]:
    tables = session.execute(
        "SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        f" WHERE relkind IN ('r', 'm') AND {where}"
    ).fetchall()
    found = {}
    for schema, table in tables:
        without = "{" + ",".join(NATURAL.get(table, ())) + "}"
        query = sql.SQL("SELECT (to_jsonb(t) - %s::text[])::text FROM {} AS t ORDER BY 1")
        rows = session.execute(query.format(sql.Identifier(schema, table)), [without]).fetchall()
        found[f"{schema}.{table}"] = tuple(row for (row,) in rows)
    return found


class Sqlite:
    """Files of a run."""

    vendor = "sqlite"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self.base = str(directory / "base.sqlite3")

    def copy(self) -> str:
        """A new file like the first release; its path."""
        self._count += 1
        directory = self._directory / str(self._count)
        directory.mkdir()
        return str(shutil.copy(self.base, directory / "trips.sqlite3"))

    def url(self, name: str) -> str:
        """For DATABASE_URL."""
        return f"sqlite:///{name}?timeout=1"

    def place(self, name: str) -> str:
        """What deeds connect to."""
        return name

    def execute(self, name: str, statement: str) -> None:
        """One statement."""
        with closing(sqlite3.connect(name, isolation_level=None)) as session:
            session.execute(statement)

    def exists(self, name: str) -> bool:
        """Is there such a file?"""
        return Path(name).exists()

    def drop(self, name: str) -> None:
        """Remove it and those beside it."""
        shutil.rmtree(Path(name).parent)

    def recorded(self, name: str) -> set[str]:
        """Applied migrations of the plan."""
        with closing(sqlite3.connect(name)) as session:
            query = "SELECT name FROM django_migrations WHERE app = 'plan'"
            return {row for (row,) in session.execute(query)}

    def portrait(self, name: str) -> Portrait:
        """All of it."""
        with closing(sqlite3.connect(name)) as session:
            query = (
                "SELECT name, tbl_name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name"
            )
            objects = session.execute(query).fetchall()
            tables = [name for name, table, text in objects if text.startswith("CREATE TABLE")]
            rows = {table: self._rows(session, table) for table in tables}
        schema = [
            f"{name}: {text}"
            for name, table, text in objects
            if not table.startswith(KEPT) and table != "sqlite_sequence"
        ]
        kept = {table: found for table, found in rows.items() if table.startswith(KEPT)}
        hidden = {*kept, "sqlite_sequence"}
        live = {table: found for table, found in rows.items() if table not in hidden}
        return Portrait(tuple(schema), live, kept)

    def _rows(self, session: sqlite3.Connection, table: str) -> tuple[str, ...]:
        cursor = session.execute(f'SELECT * FROM "{table}"')
        names: list[Any] = [column[0] for column in cursor.description]
        hidden = NATURAL.get(table, ())
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        return tuple(sorted(str({k: v for k, v in r.items() if k not in hidden}) for r in rows))


Places = Postgres | Sqlite


def prepare(places: Places) -> None:
    """What others have beside the application's tables, and rows in all of them."""
    for statement in PREPARED["both"] + PREPARED[places.vendor]:
        places.execute(places.base, statement)
