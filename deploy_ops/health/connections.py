"""Own connections to the database, apart from those that serve requests."""

import sqlite3
from contextlib import closing
from typing import Any, Protocol
from urllib.parse import quote

from django.db import connections

from deploy_ops.errors import HealthCheckFailed

SQLITE_TIMEOUT_SECONDS = 1.0


class ProbeConnection(Protocol):
    """A way to ask the database something without Django's connection."""

    def ping(self) -> None:
        """Raise unless the database answers."""

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement."""


_connections: dict[tuple[str, str], ProbeConnection] = {}


def connection_to(alias: str, purpose: str) -> ProbeConnection:
    """Return this process's connection to an alias, or Django's for a kind that is not ours.

    One for each purpose, since whoever waits for a lock on a table must not keep pings waiting.
    """
    key = alias, purpose
    # Several probes may come first at once; setdefault is atomic, and it connects when used.
    return _connections.get(key) or _connections.setdefault(key, _make_connection(alias))


def _make_connection(alias: str) -> ProbeConnection:
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        return SqliteConnection(alias)
    if vendor != "postgresql":
        return DjangoConnection(alias)
    # Imported here: psycopg need not be installed where SQLite alone is used.
    from deploy_ops.health.postgresql import PostgresqlConnection

    return PostgresqlConnection(alias)


class DjangoConnection:
    """Django's connection of the thread that asks, which ends with the check: any kind has one."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def ping(self) -> None:
        """Raise unless the server answers."""
        connection = connections[self._alias]
        connection.ensure_connection()
        if not connection.is_usable():
            raise HealthCheckFailed(f"{connection.display_name} does not answer")

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement."""
        with connections[self._alias].cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


class SqliteConnection:
    """Opens the file for each question: that is quick, and sees a file that was replaced."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def ping(self) -> None:
        """Raise sqlite3.Error unless the file is there and is a database."""
        self.rows("SELECT count(*) FROM sqlite_master")  # SELECT 1 would not read the file

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement."""
        address, timeout = self._address(), SQLITE_TIMEOUT_SECONDS
        with closing(sqlite3.connect(address, timeout=timeout, uri=True)) as connection:
            return connection.execute(statement).fetchall()

    def _address(self) -> str:
        name = str(connections[self._alias].settings_dict["NAME"])
        # mode=rw, since the default would make a new, empty file where one has gone.
        is_special = name == ":memory:" or name.startswith("file:")
        return name if is_special else f"file:{quote(name)}?mode=rw"
