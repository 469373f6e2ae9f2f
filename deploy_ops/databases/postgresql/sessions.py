"""Ending every session in a database, which a new name for it needs."""

import time

import psycopg
from psycopg import sql

from deploy_ops.databases.postgresql import own_sessions
from deploy_ops.databases.postgresql.server import Connection, quoted_role
from deploy_ops.errors import RestoreFailed

POLL_SECONDS = 0.003

# A session that is still starting is not in pg_stat_activity, but holds this lock until it is.
# So the locks are read first, then the activity. Autovacuum is ended by RENAME itself, and not
# every role may do it; it is known by having no user, since only some may see more of it.
STARTING = """
    SELECT pid, 'a session that is starting' FROM pg_locks
    WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'RowExclusiveLock'
      AND objid = (SELECT oid FROM pg_database WHERE datname = %s) AND pid <> pg_backend_pid()
"""
CONNECTED = """
    SELECT pid, coalesce(nullif(application_name, ''), 'a session') || ' of role '
        || coalesce(usename, 'unknown')
    FROM pg_stat_activity WHERE datname = %s AND usesysid IS NOT NULL
"""
PREPARED = """
    SELECT gid, owner, prepared AT TIME ZONE 'UTC' FROM pg_prepared_xacts
    WHERE database = %s ORDER BY prepared
"""
Sessions = dict[int, str]


def end_sessions(
    connection: Connection, name: str, deadline: float, spare_pid: int | None = None
) -> None:
    """End every session in a database; raises RestoreFailed naming those that do not end."""
    asked: set[int] = set()
    while sessions := _sessions(connection, name, spare_pid):
        for pid in set(sessions) - asked:
            _terminate(connection, name, pid, sessions[pid])
            asked.add(pid)
        if time.monotonic() > deadline:
            raise RestoreFailed(_still_there(connection, name, sessions))
        time.sleep(POLL_SECONDS)
    refuse_prepared(connection, name)


def refuse_prepared(connection: Connection, name: str) -> None:
    """Raise RestoreFailed at once for what RENAME would wait for, though nobody ends it."""
    rows = connection.execute(PREPARED, [name]).fetchall()
    if not rows:
        return
    listed = ", ".join(
        f"{gid!r} of {owner}, {since:%Y-%m-%d %H:%M} UTC" for gid, owner, since in rows
    )
    gid = sql.Literal(rows[0][0]).as_string(connection)
    raise RestoreFailed(
        f"{name} has prepared transactions: {listed}. They belong to the database, and one with "
        f"prepared transactions cannot be renamed. {name} is open and was not changed. Let who "
        "prepared them finish them, or do so in psql, each by one of:\n"
        f"    COMMIT PREPARED {gid};\n    ROLLBACK PREPARED {gid};"
    )


def _sessions(connection: Connection, name: str, spare_pid: int | None) -> Sessions:
    rows = connection.execute(STARTING, [name]).fetchall()
    rows += connection.execute(CONNECTED, [name]).fetchall()
    return {pid: session for pid, session in rows if pid != spare_pid}


def _terminate(connection: Connection, name: str, pid: int, session: str) -> None:
    try:
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    except psycopg.errors.InsufficientPrivilege as error:
        if own_sessions.are_ending([pid]):
            return  # with the role that it assumed one may not signal the role that logged in
        raise RestoreFailed(_still_there(connection, name, {pid: session})) from error


def _still_there(connection: Connection, name: str, sessions: Sessions) -> str:
    listed = ", ".join(f"{session} (server process {pid})" for pid, session in sessions.items())
    return (
        f"These sessions in {name} could not be ended: {listed}. A database in use cannot be "
        f"renamed. {name} is open again and was not changed. End them, or let this role do it. As "
        f"a superuser, run:\n    GRANT pg_signal_backend TO {quoted_role(connection)};"
    )
