"""The databases a test gets: the same few questions for SQLite and PostgreSQL."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from tests.clusters import PostgresCluster


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of its own in a shared cluster, owned by the application role."""

    cluster: PostgresCluster
    name: str
    url: str
    vendor = "postgresql"

    def connect(self) -> psycopg.Connection:
        """A new autocommit session of the application role."""
        return psycopg.connect(self.url, autocommit=True)

    def query(self, statement: str, params=()) -> list[tuple]:
        """Rows of one statement (`%s` parameters), in a session of its own."""
        with self.connect() as connection:
            return connection.execute(statement, params or None).fetchall()

    def execute(self, statement: str, params=()) -> None:
        """One statement without rows, committed, in a session of its own."""
        with self.connect() as connection:
            connection.execute(statement, params or None)

    def exists(self, name: str) -> bool:
        """Is there a database of that name beside this one?"""
        return name in self.cluster.databases()

    def databases(self) -> list[str]:
        """This database and everything called `<name>_*` beside it."""
        return [
            name
            for name in self.cluster.databases()
            if name == self.name or name.startswith(f"{self.name}_")
        ]

    def beside(self, name: str) -> "PostgresDatabase":
        """Another database of the same server."""
        return replace(self, name=name, url=self.cluster.url(name, "app"))

    def schema(self) -> dict[str, list[str]]:
        """Tables of the public schema with their columns."""
        rows = self.query(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
        )
        return _columns_by_table(rows)


@dataclass(frozen=True)
class SqliteDatabase:
    """A file of its own, absent until somebody writes to it."""

    path: Path
    cluster = None
    vendor = "sqlite"

    @property
    def name(self) -> str:
        """The file's path, as in DATABASES["default"]["NAME"]."""
        return str(self.path)

    @property
    def url(self) -> str:
        """For DATABASE_URL."""
        return f"sqlite:///{self.path}"

    def connect(self) -> sqlite3.Connection:
        """A new autocommit connection."""
        return sqlite3.connect(self.path, isolation_level=None)

    def query(self, statement: str, params=()) -> list[tuple]:
        """Rows of one statement (`%s` parameters), on a connection of its own."""
        with closing(self.connect()) as connection:
            return connection.execute(statement.replace("%s", "?"), params).fetchall()

    def execute(self, statement: str, params=()) -> None:
        """One statement without rows, on a connection of its own."""
        self.query(statement, params)

    def exists(self, name: str) -> bool:
        """Is there a file of that name (or path) beside this one?"""
        return self.path.with_name(Path(name).name).exists()

    def databases(self) -> list[str]:
        """Paths of this file and what lies beside it, without SQLite's own -wal, -shm, -journal."""
        side_files = ("-wal", "-shm", "-journal")
        found = sorted(str(path) for path in self.path.parent.iterdir() if path.is_file())
        return [path for path in found if not path.endswith(side_files)]

    def beside(self, name: str) -> "SqliteDatabase":
        """Another file."""
        return replace(self, path=Path(name))

    def schema(self) -> dict[str, list[str]]:
        """Tables with their columns."""
        rows = self.query(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table' AND m.name <> 'sqlite_sequence' ORDER BY m.name, c.cid"
        )
        return _columns_by_table(rows)


Database = PostgresDatabase | SqliteDatabase


def _columns_by_table(rows: list[tuple]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for table, column in rows:
        tables.setdefault(table, []).append(column)
    return tables
