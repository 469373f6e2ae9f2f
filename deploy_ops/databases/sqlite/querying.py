"""One query of a person, on a connection that can only read."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy_ops.databases.rows import Row
from deploy_ops.databases.sqlite.copying import connected
from deploy_ops.databases.sqlite.registered import register
from deploy_ops.databases.sqlite.shape import quoted
from deploy_ops.errors import RestoreRefused

READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


@dataclass(frozen=True, slots=True)
class SqliteQuery:
    """A query that has begun."""

    cursor: sqlite3.Cursor
    columns: tuple[str, ...]
    key: tuple[int, ...]

    def rows(self) -> Iterator[Row]:
        """Fetch them one by one."""
        try:
            for row in self.cursor:
                yield tuple(map(_text, row))
        except sqlite3.Error as error:
            raise _refused(error) from error


@dataclass(slots=True)
class _Seen:
    """What SQLite asks about while it prepares a query: which tables it reads."""

    tables: set[str] = field(default_factory=set)

    def allow(self, action: int, table: str | None, *_: object) -> int:
        """Deny all that does not read."""
        if action == sqlite3.SQLITE_READ and table:
            self.tables.add(table)
        return sqlite3.SQLITE_OK if action in READS else sqlite3.SQLITE_DENY


@contextmanager
def querying(path: Path, query: str, alias: str) -> Iterator[SqliteQuery]:
    """Begin a query; raises RestoreRefused for what is none, or is more."""
    with connected(path, "mode=ro") as connection:
        register(connection, alias)
        seen = _Seen()
        connection.set_authorizer(seen.allow)
        try:
            cursor = connection.execute(query)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _refused(error) from error
        finally:
            connection.set_authorizer(None)
        if cursor.description is None:
            raise RestoreRefused("The query answers no rows. Nothing was changed.")
        columns = tuple(name for name, *_ in cursor.description)
        yield SqliteQuery(cursor, columns, _key(connection, columns, seen.tables))


def _key(
    connection: sqlite3.Connection, columns: tuple[str, ...], tables: set[str]
) -> tuple[int, ...]:
    """Positions of the primary keys of all tables that are read; SQLite tells columns by name."""
    names: list[str] = []
    for table in sorted(tables):
        rows = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
        names += [name for _, name, _, _, _, key in rows if key]
        if not any(row[5] for row in rows):
            return ()
    if len({*names}) < len(names) or any(columns.count(name) != 1 for name in names):
        return ()
    return tuple(sorted(columns.index(name) for name in names))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _refused(error: Exception) -> RestoreRefused:
    return RestoreRefused(f"The query cannot be run: {error}\nNothing was changed.")
