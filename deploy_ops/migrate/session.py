"""The session that migrates: how long it waits for locks, and how others can recognise it.

Measured on PostgreSQL 15: building an index concurrently counts its
wait for old snapshots against lock_timeout, so it gets none; a killed client's statement runs on
unless the server looks whether somebody still listens; and a lock_timeout below deadlock_timeout
never gets past an autovacuum.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

CONCURRENTLY = re.compile(
    r"^\s*(CREATE\s+(UNIQUE\s+)?|DROP\s+|RE)INDEX\s.*\bCONCURRENTLY\b", re.I | re.S
)
LOST_LOCK_RACES = {"55P03", "40P01"}  # lock_not_available, deadlock_detected
SQLITE_BUSY = 5
RECONNECT_WITHIN = timedelta(seconds=10)
RECONNECT_PAUSE_SECONDS = 0.5
HOLDERS = """
    SELECT DISTINCT activity.pid, activity.application_name, activity.state,
           extract(epoch FROM now() - activity.xact_start)::int
    FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
    WHERE lock.granted AND lock.pid <> pg_backend_pid()
      AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND lock.relation IN (SELECT to_regclass(quote_ident(name)) FROM unnest(%s::text[]) AS name)
"""
SERVER_TIMEOUTS = (
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)


def application_name(run: str) -> str:
    """The name under which a run's migrating session is found in pg_stat_activity."""
    return f"deploy_ops/{run}"


@contextmanager
def migration_session(
    connection: BaseDatabaseWrapper, run: str, lock_timeout: timedelta
) -> Iterator[Callable[[], None]]:
    """Prepare the session, and give the settings back in the end.

    Yields a function that prepares it again: a reconnect loses every SET.
    """
    if connection.vendor != "postgresql":
        yield lambda: None
        return
    values = _settings(run, lock_timeout)

    def prepare() -> None:
        for name, value in values.items():
            _set(connection, name, value)
        _try(connection, "SET client_connection_check_interval = '5s'")
        if lock_timeout <= timedelta(seconds=1):
            _try(connection, f"SET deadlock_timeout = '{lock_timeout / 2 / _MS:.0f}ms'")

    prepare()
    try:
        with connection.execute_wrapper(_without_timeouts_for_concurrent_work):
            yield prepare
    finally:
        _reset(connection, values)


_MS = timedelta(milliseconds=1)


def _settings(run: str, lock_timeout: timedelta) -> dict[str, str]:
    return {
        "application_name": application_name(run),
        "lock_timeout": f"{lock_timeout / _MS:.0f}ms",
    }


def server_timeouts(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    """Time-outs of the server or the role that can end a migration; none on SQLite."""
    if connection.vendor != "postgresql":
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, current_setting(name) FROM pg_settings"
            " WHERE name = ANY(%s::text[]) AND setting <> '0' ORDER BY name",
            [list(SERVER_TIMEOUTS)],
        )
        return dict(cursor.fetchall())


def heal(connection: BaseDatabaseWrapper, prepare: Callable[[], None]) -> None:
    """Leave no transaction open after a failure, and a connection that works.

    Django's schema editor runs deferred SQL before it leaves its atomic block; when that SQL
    fails, the block stays open for ever (docs/decisions/0005). A new connection is the
    cure. A server that restarts is waited for; if it does not come, whoever asks it next will
    say so.
    """
    if not connection.in_atomic_block and connection.is_usable():
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


def is_lock_failure(error: BaseException | None) -> bool:
    """Tell whether the error is a lost race for a lock, which may be tried again."""
    while error is not None:
        if getattr(error, "sqlstate", None) in LOST_LOCK_RACES:
            return True
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == SQLITE_BUSY:
            return True
        error = error.__cause__
    return False


def lock_holders(connection: BaseDatabaseWrapper, tables: set[str]) -> str:
    """Say who holds locks on the tables, as a clause to append; empty if nobody does."""
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute(HOLDERS, [sorted(tables)])
        rows = cursor.fetchall()
    held = [
        f"{name or 'a session'} (pid {pid}{f', {state}, {age} s' if state else ''})"
        for pid, name, state, age in rows
    ]
    return f", held by {', '.join(held)}" if held else ""


def _without_timeouts_for_concurrent_work(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    connection = context["connection"]
    if connection.in_atomic_block or not CONCURRENTLY.match(str(sql)):
        return execute(sql, params, many, context)
    raw = connection.connection
    kept = raw.execute(
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
    )
    lock_timeout, statement_timeout = kept.fetchone()
    raw.execute("SET lock_timeout = 0; SET statement_timeout = 0")
    try:
        return execute(sql, params, many, context)
    finally:
        if not raw.closed:
            raw.execute("SELECT set_config('lock_timeout', %s, false)", [lock_timeout])
            raw.execute("SELECT set_config('statement_timeout', %s, false)", [statement_timeout])


def _set(connection: BaseDatabaseWrapper, name: str, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", [name, value])


def _try(connection: BaseDatabaseWrapper, sql: str) -> None:
    """Set what not every server has (the check interval) and not every role may (superuser)."""
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(sql)


def _reset(connection: BaseDatabaseWrapper, names: Iterable[str]) -> None:
    if connection.connection is None or not connection.is_usable():
        connection.close()  # the settings went with the session
        return
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"RESET {name}")
    for name in ("client_connection_check_interval", "deadlock_timeout"):
        _try(connection, f"RESET {name}")
