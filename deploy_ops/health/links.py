"""Own connections to the database, apart from those that serve requests."""

import sqlite3
from contextlib import closing
from typing import Any, Protocol
from urllib.parse import quote

from django.db import connections

from deploy_ops.databases import database_for

SQLITE_TIMEOUT_SECONDS = 1.0


class Link(Protocol):
    """A way to ask the database something without Django's connection."""

    def ping(self) -> None:
        """Raise unless the database answers."""

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement."""


_links: dict[tuple[str, str], Link] = {}


def link_to(alias: str, purpose: str) -> Link:
    """Return this process's link to an alias; raises ConfigurationError for other vendors.

    One for each purpose, since whoever waits for a lock on a table must not keep pings waiting.
    """
    key = alias, purpose
    # Several probes may come first at once; setdefault is atomic, and a link connects when used.
    return _links.get(key) or _links.setdefault(key, _make_link(alias))


def _make_link(alias: str) -> Link:
    if database_for(alias).vendor == "sqlite":
        return SqliteLink(alias)
    # Imported here: psycopg need not be installed where SQLite alone is used.
    from deploy_ops.health.postgresql import PostgresqlLink

    return PostgresqlLink(alias)


class SqliteLink:
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
