"""The migrating session through failures: reset, and known by a name."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.base import Database

LOCK_FAILURES = {"55P03": "lock timeout", "40P01": "deadlock"}  # by SQLSTATE
SQLITE_BUSY = 5
RECONNECT_WITHIN = timedelta(seconds=10)
RECONNECT_PAUSE_SECONDS = 0.5


def application_name(run: str) -> str:
    """The name under which a run's migrating session is found in pg_stat_activity."""
    return f"deploy_ops/{run}"


def is_left_open(database: Database) -> bool:
    """Whether code has left a transaction open, by SQL or by Django, where none should be.

    Whatever follows would be in it: said to be done, and rolled back with the end of the session.
    """
    connection = database.connection
    if connection.in_atomic_block or connection.connection is None:
        return connection.in_atomic_block
    return database.transactions.is_in_transaction() or not connection.get_autocommit()


def reset_connection(database: Database, prepare: Callable[[], None], *, after_code: bool) -> None:
    """Leave no transaction open after a failure, and a connection that works.

    What code has SET is gone with its session: a time-out of its own would end what we ask.

    Django's schema editor runs deferred SQL before it leaves its atomic block; when that SQL
    fails, the block stays open for ever (docs/decisions/0005). A new connection is the
    cure. A server that restarts is waited for; if it does not come, whoever asks it next will
    say so.
    """
    connection = database.connection
    has_set = after_code and database.has_session_settings
    if not (has_set or is_left_open(database)) and connection.is_usable():
        return
    connection.close()
    deadline = time.monotonic() + RECONNECT_WITHIN.total_seconds()
    while not _reconnected(connection) and time.monotonic() < deadline:
        time.sleep(RECONNECT_PAUSE_SECONDS)
    if connection.is_usable():
        prepare()


def _reconnected(connection: BaseDatabaseWrapper) -> bool:
    with suppress(OperationalError), connection.wrap_database_errors:
        connection.connect()
        return True
    return False


def lock_failure(error: BaseException | None) -> str | None:
    """Name the lost race for a lock, after which a retry may succeed; None for other errors."""
    while error is not None:
        if found := LOCK_FAILURES.get(getattr(error, "sqlstate", None) or ""):
            return found
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == SQLITE_BUSY:
            return "lock timeout"
        error = error.__cause__
    return None


def lock_holders(database: Database, tables: Iterable[str]) -> str:
    """Say who holds locks on the tables, as a clause to append; empty if nobody does."""
    held = database.lock_holders(tables)
    return f", held by {', '.join(held)}" if held else ""
