"""Ending every session in a database, which a new name for it needs."""

import time
from datetime import timedelta

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
# PostgreSQL lets nobody but a superuser end these: of the server's provider, mostly monitoring.
UNTOUCHABLE = f"""{CONNECTED}
    AND (SELECT rolsuper FROM pg_roles WHERE pg_roles.oid = usesysid)
    AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""
PATIENCE = timedelta(seconds=30)
WAIT_SECONDS = 0.1
Sessions = dict[int, str]


def wait_for_superusers(connection: Connection, name: str) -> None:
    """Wait while others may still connect for sessions that nobody here may end to end themselves.

    Raises RestoreFailed naming those that are there after PATIENCE.
    """
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while sessions := _untouchable(connection, name):
        if time.monotonic() > deadline:
            raise RestoreFailed(
                f"Superusers are connected to {name}: {_listed(sessions)}. Only a superuser can "
                "end these sessions, and a database in use cannot be renamed. They did not end "
                f"within {PATIENCE.total_seconds():.0f} s. {name} is open and was not changed. Ask "
                "whoever runs the server to disconnect them, and run this again."
            )
        time.sleep(WAIT_SECONDS)


def _untouchable(connection: Connection, name: str) -> Sessions:
    return dict(connection.execute(UNTOUCHABLE, [name]).fetchall())


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
        f"prepared transactions cannot be renamed. {name} is open and was not changed. End them "
        "where they were prepared, or in psql, each by one of:\n"
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
        if pid in _untouchable(connection, name):
            return  # it has come since they were waited for, and may go as well
        raise RestoreFailed(_still_there(connection, name, {pid: session})) from error


def _still_there(connection: Connection, name: str, sessions: Sessions) -> str:
    return (
        f"These sessions in {name} could not be ended: {_listed(sessions)}. A database in use "
        f"cannot be renamed. {name} is open again and was not changed. End them, or let this role "
        "do it (it ends no superuser's). As the server's administrator, run:\n"
        f"    GRANT pg_signal_backend TO {quoted_role(connection)};"
    )


def _listed(sessions: Sessions) -> str:
    return ", ".join(f"{session} (server process {pid})" for pid, session in sessions.items())
