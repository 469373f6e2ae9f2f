"""The exchange of two databases by their names, in a moment, with nobody connected.

Closing (ALLOW_CONNECTIONS false) keeps out even superusers, so that between the last session's
end and the second name nothing can write. Both renames are one transaction: at any kill there is
a database of the live name. What a kill can leave is a closed door, which `repair` opens.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from psycopg import sql

from deploy_ops.databases.postgresql import names
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.errors import DeployOpsError, RestoreFailed, SwapUnfinished

POLL_SECONDS = 0.003
TERMINATE_WITHIN = timedelta(seconds=10)
RENAME_TRIES = 20
LOCK_TIMEOUT_MS = 200

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
Sessions = dict[int, str]


def swap(
    server: Server, beside: str, kept: str, *, before: Callable[[], None], spare_pid: int | None
) -> None:
    """Give `beside` the live name and the live database the name `kept`.

    The session `spare_pid` may stay until `before` has returned, and has to end in it.
    """
    live = server.dbname
    try:
        with server.maintenance(application_name=f"deploy_ops/swap/{os.getpid()}") as connection:
            _empty(connection, beside)
            with _closed(connection, live, kept):
                _empty(connection, live, spare_pid)
                before()
                _empty(connection, live)
                _rename(connection, live, beside, kept)
    except psycopg.OperationalError as error:
        _look_again(server, beside, kept, error)


@contextmanager
def _closed(connection: Connection, live: str, kept: str) -> Iterator[None]:
    # Nobody waits for the disk while the door is closed. In the end one flush makes all of it
    # durable; what others commit before that is durable only together with it.
    connection.execute("SET synchronous_commit = off")
    _allow(connection, live, False)
    try:
        yield
    finally:
        _reopen(connection, live, kept)
        connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'deploy_ops', '')")


def _look_again(server: Server, beside: str, kept: str, error: Exception) -> None:
    """After our own connection was lost: whether COMMIT arrived is known to the server alone."""
    try:
        found = repair(server, beside, kept)
        with server.maintenance(application_name=f"deploy_ops/swap/{os.getpid()}") as connection:
            is_swapped = names.exists(connection, kept)
    except DeployOpsError as second:
        raise SwapUnfinished(
            f"The connection was lost during the exchange of {server.dbname} and {beside}:\n"
            f"{error}\nWhether it took place is not known; both databases are kept, and "
            f"{server.dbname} may refuse connections. Once the server answers, this repairs it:\n"
            "    python manage.py restore"
        ) from second
    if not is_swapped:
        raise RestoreFailed(f"The connection was lost during the exchange. {found}") from error


def _reopen(connection: Connection, *databases: str) -> list[str]:
    """Open what is closed among the databases that exist; return their names."""
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE datname = ANY(%s) AND NOT datallowconn",
        [list(databases)],
    ).fetchall()
    for (name,) in rows:
        _allow(connection, name, True)
    return [name for (name,) in rows]


def _allow(connection: Connection, name: str, is_open: bool) -> None:
    statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(is_open)))


def _empty(connection: Connection, name: str, spare_pid: int | None = None) -> None:
    """End every session in a database; raises RestoreFailed naming those that do not end."""
    deadline = time.monotonic() + TERMINATE_WITHIN.total_seconds()
    asked: set[int] = set()
    while sessions := _sessions(connection, name, spare_pid):
        for pid in set(sessions) - asked:
            _terminate(connection, name, pid, sessions[pid])
            asked.add(pid)
        if time.monotonic() > deadline:
            raise RestoreFailed(_still_there(name, sessions))
        time.sleep(POLL_SECONDS)


def _sessions(connection: Connection, name: str, spare_pid: int | None) -> Sessions:
    rows = connection.execute(STARTING, [name]).fetchall()
    rows += connection.execute(CONNECTED, [name]).fetchall()
    return {pid: session for pid, session in rows if pid != spare_pid}


def _terminate(connection: Connection, name: str, pid: int, session: str) -> None:
    try:
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    except psycopg.errors.InsufficientPrivilege as error:
        raise RestoreFailed(_still_there(name, {pid: session})) from error


def _still_there(name: str, sessions: Sessions) -> str:
    listed = ", ".join(f"{session} (server process {pid})" for pid, session in sessions.items())
    return (
        f"These sessions in {name} could not be ended: {listed}. A database in use cannot be "
        f"renamed. {name} is open again and was not changed. End them, or let the restoring role:\n"
        "    GRANT pg_signal_backend TO CURRENT_ROLE"
    )


def _rename(connection: Connection, live: str, beside: str, kept: str) -> None:
    for tries_left in reversed(range(RENAME_TRIES)):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                for old, new in ((live, kept), (beside, live)):
                    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                    connection.execute(statement.format(sql.Identifier(old), sql.Identifier(new)))
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.ObjectInUse) as error:
            if not tries_left:
                raise _not_renamed(live, error) from error
            time.sleep(POLL_SECONDS)
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as error:
            raise _not_renamed(live, error) from error


def _not_renamed(live: str, error: Exception) -> RestoreFailed:
    return RestoreFailed(
        f"{live} could not be renamed: {error}".rstrip()
        + f"\n{live} is open again and was not changed."
    )


def repair(server: Server, beside: str, kept: str) -> str:
    """Finish or undo a swap that was killed; say in one sentence what was found and done."""
    live = server.dbname
    with server.maintenance(application_name=f"deploy_ops/repair/{os.getpid()}") as connection:
        there = [names.exists(connection, name) for name in (live, beside, kept)]
        if there == [False, True, True]:
            _rename_back(connection, beside, live)
        elif not there[0]:
            raise SwapUnfinished(_lost(live, beside, kept))
        opened = _reopen(connection, live, kept)
    done = f" {' and '.join(opened)} had stayed closed and is open again." if opened else ""
    if there[2] or not there[1]:
        return f"The exchange was complete: {live} is the restored database.{done}"
    return f"The exchange had not taken place: {live} is the database before the restore.{done}"


def _rename_back(connection: Connection, beside: str, live: str) -> None:
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    connection.execute(statement.format(sql.Identifier(beside), sql.Identifier(live)))


def _lost(live: str, beside: str, kept: str) -> str:
    return (
        f"There is no database {live}; looked for {beside} and {kept} too. Somebody renamed or "
        "dropped it outside deploy_ops. Nothing was changed. See what there is:\n    psql -l"
    )
