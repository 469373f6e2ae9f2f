"""The session that migrates: how long it waits for locks, and how others can recognise it.

Measured on PostgreSQL 15: building an index concurrently counts its wait for old snapshots against
lock_timeout, so it gets none; a killed client's statement runs on unless the server looks whether
somebody still listens; and a lock_timeout below deadlock_timeout never gets past an autovacuum.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.base import Backend

CONCURRENTLY = re.compile(
    r"^\s*(CREATE\s+(UNIQUE\s+)?|DROP\s+|RE)INDEX\s.*\bCONCURRENTLY\b", re.I | re.S
)
HOLDERS = """
    SELECT DISTINCT activity.pid, activity.application_name, activity.state,
           extract(epoch FROM now() - activity.xact_start)::int
    FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
    WHERE lock.granted AND lock.pid <> pg_backend_pid()
      AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND lock.relation IN (SELECT to_regclass(quote_ident(name)) FROM unnest(%s::text[]) AS name)
"""
BACKENDS = """
    SELECT pid, state, coalesce(extract(epoch FROM now() - xact_start)::int, 0), left(query, 200)
    FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()
"""
# Workers of autovacuum, which analyze too, are the only sessions in a database that belong to no
# role; all else that tells them apart is hidden from roles without pg_read_all_stats.
AUTOVACUUM = """
    WITH named AS (SELECT to_regclass(name) AS relation FROM unnest(%s::text[]) AS name)
    SELECT count(*) FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
    WHERE lock.granted AND lock.mode = 'ShareUpdateExclusiveLock'
      AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND lock.relation IN (SELECT relation FROM named
          UNION SELECT relid FROM named, pg_partition_tree(named.relation))
      AND coalesce(activity.backend_type, 'autovacuum worker') = 'autovacuum worker'
      AND activity.usesysid IS NULL
"""
DEADLOCK_TIMEOUT = "SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'"
SIZES = """
    SELECT name, pg_total_relation_size(to_regclass(quote_ident(name)))
    FROM unnest(%s::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL
"""
SERVER_TIMEOUTS = (
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)
_MS = timedelta(milliseconds=1)


@contextmanager
def migrating_session(
    connection: BaseDatabaseWrapper, name: str, lock_timeout: timedelta
) -> Iterator[Callable[[], None]]:
    """Prepare the session, and give the settings back in the end.

    Yields a function that prepares it again: a reconnect loses every SET.
    """
    values = {"application_name": name, "lock_timeout": f"{lock_timeout / _MS:.0f}ms"}

    def prepare() -> None:
        for setting, value in values.items():
            _set(connection, setting, value)
        _try(connection, "SET client_connection_check_interval = '5s'")
        if lock_timeout <= timedelta(seconds=1):
            _try(connection, f"SET deadlock_timeout = '{lock_timeout / 2 / _MS:.0f}ms'")

    prepare()
    try:
        with connection.execute_wrapper(_without_timeouts_for_concurrent_work):
            yield prepare
    finally:
        _reset(connection, values)


def server_timeouts(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    """Time-outs of the server or the role that can end a migration."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, current_setting(name) FROM pg_settings"
            " WHERE name = ANY(%s::text[]) AND setting <> '0' ORDER BY name",
            [list(SERVER_TIMEOUTS)],
        )
        return dict(cursor.fetchall())


def lock_holders(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> list[str]:
    """Say who holds locks on the tables."""
    with connection.cursor() as cursor:
        cursor.execute(HOLDERS, [sorted(tables)])
        rows = cursor.fetchall()
    return [
        f"{name or 'a session'} (pid {pid}{f', {state}, {age} s' if state else ''})"
        for pid, name, state, age in rows
    ]


def is_behind_autovacuum(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> bool:
    """Whether an autovacuum is at work on one of the tables, or on a partition of one."""
    names = [connection.ops.quote_name(table) for table in sorted(tables)]
    return bool(_ask(connection, AUTOVACUUM, [names]))


def deadlock_timeout(connection: BaseDatabaseWrapper) -> timedelta:
    """How long an autovacuum has to be waited for until the server ends it."""
    return int(_ask(connection, DEADLOCK_TIMEOUT)) * _MS


@contextmanager
def outwaiting_vacuum(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> Iterator[bool]:
    """Wait in the block until a vacuum of the tables gives way; yields whether there is one.

    The server ends an autovacuum that somebody has waited for as long as deadlock_timeout, so a
    shorter lock_timeout never gets past it, and few roles may shorten deadlock_timeout.
    """
    if not is_behind_autovacuum(connection, tables):
        yield False
        return
    shortest = _ask(connection, "SELECT current_setting('lock_timeout')")
    longer = deadlock_timeout(connection) + timedelta(milliseconds=200)
    _set(connection, "lock_timeout", f"{longer / _MS:.0f}ms")
    try:
        yield True
    finally:
        if connection.connection is not None and connection.is_usable():
            _set(connection, "lock_timeout", shortest)


def table_sizes(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> Mapping[str, int]:
    """Bytes of each table that exists, indexes included."""
    with connection.cursor() as cursor:
        cursor.execute(SIZES, [sorted(tables)])
        return dict(cursor.fetchall())


def backends_named(connection: BaseDatabaseWrapper, name: str) -> list[Backend]:
    """Server processes of the sessions with this application name."""
    with connection.cursor() as cursor:
        cursor.execute(BACKENDS, [name])
        return [Backend(*row) for row in cursor.fetchall()]


def end_backends(connection: BaseDatabaseWrapper, pids: Iterable[int]) -> None:
    """End server processes; what they had open rolls back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [list(pids)]
        )


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


def _ask(connection: BaseDatabaseWrapper, sql: str, params: Any = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]


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
