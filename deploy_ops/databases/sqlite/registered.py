"""What the project registers on each connection: functions and collations that its tables use.

They live in a connection and not in the file, so SQLite can look into a copy only where they are.
Django registers its own; a project does it on `connection_created`, which is sent for our
connections too.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from deploy_ops.databases.sqlite.copying import frozen

PRIMARY = 0xFF  # the rest of a code is detail, such as which kind of thing is missing
REGISTER = (
    "Functions and collations that tables use have to be registered by a receiver of Django's "
    "connection_created."
)


@contextmanager
def reading_copy(path: Path, alias: str) -> Iterator[sqlite3.Connection]:
    """Open a copy that nobody writes to, with what the project registers for the alias."""
    with frozen(path) as connection:
        register(connection, alias)
        yield connection


def register(connection: sqlite3.Connection, alias: str) -> None:
    """Send the signal for a connection of ours; a PRAGMA that a receiver sets is passed over.

    It would give the copy another journal mode, or let side files appear beside it.
    """
    wrapper = connections.create_connection(alias)
    wrapper.connection = connection
    connection.set_authorizer(_without_pragmas)
    try:
        connection_created.send(sender=type(wrapper), connection=wrapper)
    finally:
        connection.set_authorizer(None)
        wrapper.connection = None  # it is ours to close


def is_missing(error: Exception) -> bool:
    """Whether SQLite refused a statement, which says nothing of the file's pages."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY == sqlite3.SQLITE_ERROR


def _without_pragmas(action: int, _name: Any, value: Any, *_: Any) -> int:
    is_set = action == sqlite3.SQLITE_PRAGMA and value is not None
    return sqlite3.SQLITE_IGNORE if is_set else sqlite3.SQLITE_OK
