"""The exchange of two databases by their names, in a moment, with nobody connected.

Closing (ALLOW_CONNECTIONS false) keeps out even superusers, so that between the last session's
end and the second name nothing can write. Both renames are one transaction: at any kill there is
a database of the live name. What a kill can leave is a closed door, which `repair` opens, by the
mark that whoever closes it leaves in the server (closing.py).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from psycopg import sql

from deploy_ops.databases.postgresql import closing, names
from deploy_ops.databases.postgresql.closing import Mark
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.errors import DeployOpsError, RestoreFailed, SwapUnfinished
from deploy_ops.redact import error_text

POLL_SECONDS = 0.003
# For all of it: ending sessions, the proof that nobody wrote, renaming. RENAME itself waits up to
# 5 s for what it finds in the database, each time.
DOOR = timedelta(seconds=10)
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
PREPARED = """
    SELECT gid, owner, prepared AT TIME ZONE 'UTC' FROM pg_prepared_xacts
    WHERE database = %s ORDER BY prepared
"""
SWAPPING = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE pid::text = %s AND application_name LIKE 'deploy_ops/swap/%%'
"""
Sessions = dict[int, str]


def swap(
    server: Server, beside: str, kept: str, *, before: Callable[[], None], spare_pid: int | None
) -> None:
    """Give `beside` the live name and the live database the name `kept`.

    The session `spare_pid` may stay until `before` has returned, and has to end in it. The live
    database is closed for DOOR at most, whatever `before` takes; then it is open again as it was.
    """
    live = server.dbname
    try:
        with server.maintenance(application_name=f"deploy_ops/swap/{os.getpid()}") as connection:
            _empty(connection, beside, _deadline())
            _refuse_prepared(connection, live)  # first without keeping anybody out
            with _closed(connection, Mark.of(connection, live, beside, kept)) as mark:
                deadline = _deadline()
                _empty(connection, live, deadline, spare_pid)
                before()
                # Our own session has just ended; the server may take a moment to see it.
                _empty(connection, live, max(deadline, time.monotonic() + 1))
                _rename(connection, mark, deadline)
    except psycopg.OperationalError as error:
        _look_again(server, beside, kept, error)


def _deadline() -> float:
    return time.monotonic() + DOOR.total_seconds()


@contextmanager
def _closed(connection: Connection, mark: Mark) -> Iterator[Mark]:
    # Nobody waits for the disk while the door is closed. In the end one flush makes all of it
    # durable; what others commit before that is durable only together with it.
    connection.execute("SET synchronous_commit = off")
    closing.close(connection, mark.live, mark)
    try:
        yield mark
    finally:
        _reopen(connection, mark.live, is_ours=True)
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
            f"{error_text(error)}\nWhether it took place is not known. Both databases are kept, "
            f"and {server.dbname} may refuse connections. Once the server answers, any host "
            "repairs it by:\n    python manage.py restore"
        ) from second
    if not is_swapped:
        raise RestoreFailed(f"The connection was lost during the exchange. {found}") from error


def _reopen(connection: Connection, live: str, *, is_ours: bool = False) -> list[str]:
    """Open what a swap of this name has closed; return the names of what was closed.

    What somebody has altered since may be closed on purpose, and stays so unless it `is_ours`.
    """
    found = closing.marked_databases(connection, live)
    lawful = [each for each in found if each.is_open or each.is_untouched or is_ours]
    for each in lawful:
        closing.open_again(connection, each.name)
    return [each.name for each in lawful if not each.is_open]


def _empty(
    connection: Connection, name: str, deadline: float, spare_pid: int | None = None
) -> None:
    """End every session in a database; raises RestoreFailed naming those that do not end."""
    asked: set[int] = set()
    while sessions := _sessions(connection, name, spare_pid):
        for pid in set(sessions) - asked:
            _terminate(connection, name, pid, sessions[pid])
            asked.add(pid)
        if time.monotonic() > deadline:
            raise RestoreFailed(_still_there(name, sessions))
        time.sleep(POLL_SECONDS)
    _refuse_prepared(connection, name)


def _refuse_prepared(connection: Connection, name: str) -> None:
    """Raise RestoreFailed at once for what RENAME would wait for, though nobody ends it."""
    rows = connection.execute(PREPARED, [name]).fetchall()
    if not rows:
        return
    listed = ", ".join(
        f"{gid!r} of {owner}, {since:%Y-%m-%d %H:%M} UTC" for gid, owner, since in rows
    )
    gid = sql.Literal(rows[0][0]).as_string(connection)
    raise RestoreFailed(
        f"{name} has prepared transactions: {listed}. They belong to the database and would be in "
        f"the one that is kept, and a database with them cannot be renamed. {name} is open and "
        "was not changed. Let who prepared them finish them, or do so in psql, each by one of:\n"
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
        raise RestoreFailed(_still_there(name, {pid: session})) from error


def _still_there(name: str, sessions: Sessions) -> str:
    listed = ", ".join(f"{session} (server process {pid})" for pid, session in sessions.items())
    return (
        f"These sessions in {name} could not be ended: {listed}. A database in use cannot be "
        f"renamed. {name} is open again and was not changed. End them, or let the restoring role:\n"
        "    GRANT pg_signal_backend TO CURRENT_ROLE"
    )


def _rename(connection: Connection, mark: Mark, deadline: float) -> None:
    """Exchange the names in one transaction; raises RestoreFailed if that is not done in time."""
    error: Exception | None = None
    while (left := deadline - time.monotonic()) > 0:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                connection.execute(f"SET LOCAL statement_timeout = {1 + int(left * 1000)}")
                for old, new in ((mark.live, mark.kept), (mark.beside, mark.live)):
                    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                    connection.execute(statement.format(sql.Identifier(old), sql.Identifier(new)))
                closing.write_mark(connection, mark.kept, mark)
            return
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.ObjectInUse,
            psycopg.errors.QueryCanceled,
        ) as failure:
            error = failure
            time.sleep(POLL_SECONDS)
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as failure:
            raise _not_renamed(mark.live, error_text(failure)) from failure
    why = error_text(error) if error else "what came before took all of the time"
    raise _not_renamed(mark.live, f"not within {DOOR.total_seconds():.0f} s: {why}") from error


def _not_renamed(live: str, why: str) -> RestoreFailed:
    return RestoreFailed(
        f"{live} could not be renamed: {why}\n{live} is open again and was not changed."
    )


def repair(server: Server, beside: str, kept: str) -> str:
    """Finish or undo a swap that was killed; say what was found, done, and which databases stay."""
    live = server.dbname
    with server.maintenance(application_name=f"deploy_ops/repair/{os.getpid()}") as connection:
        there = [names.exists(connection, name) for name in (live, beside, kept)]
        if there == [False, True, True]:
            _rename_back(connection, beside, live)
            there = [True, False, True]
        elif not there[0]:
            raise SwapUnfinished(_lost(live, beside, kept))
        _end_swaps(connection, live)
        opened = _reopen(connection, live)
        still_closed = _closed_by_others(connection, live)
    told = _found(live, beside if there[1] else None, kept if there[2] else None)
    if opened:
        told += f" {' and '.join(opened)} had stayed closed and is open again."
    return told + still_closed


def _end_swaps(connection: Connection, live: str) -> None:
    """End the session of a swap that still goes on: its process has lost the deploy lock to us."""
    for each in closing.marked_databases(connection, live):
        connection.execute(SWAPPING, [each.mark.session])


def repair_marked(server: Server) -> str:
    """The same for swaps of any host, by the marks that they left in the server; "" for none."""
    with server.maintenance(application_name=f"deploy_ops/repair/{os.getpid()}") as connection:
        marks = {each.mark for each in closing.marked_databases(connection, server.dbname)}
    return "\n".join(
        f"A restore by {mark.by}, begun {mark.at}, had been cut off. "
        + repair(server, mark.beside, mark.kept)
        for mark in sorted(marks, key=lambda mark: mark.at)
    )


def is_marked(server: Server) -> bool:
    """Whether a killed swap of any host left its mark on this database."""
    with server.maintenance(application_name=f"deploy_ops/repair/{os.getpid()}") as connection:
        return bool(closing.marked_databases(connection, server.dbname))


def _found(live: str, beside: str | None, kept: str | None) -> str:
    if kept and not beside:
        return (
            f"The exchange was complete: {live} is the restored database. The database before it "
            f"is kept as {kept}."
        )
    if beside and not kept:
        return (
            f"The exchange had not taken place: {live} is the database before the restore. What "
            f"was restored is kept as {beside}."
        )
    if beside:
        return f"Somebody has renamed databases since: {live}, {beside} and {kept} are all there."
    return f"{live} is there, and nothing beside it any more: somebody has dropped that since."


def _closed_by_others(connection: Connection, live: str) -> str:
    left = [each.name for each in closing.marked_databases(connection, live) if not each.is_open]
    return "".join(
        f" {name} is closed, and somebody has altered it since the restore closed it, so it was "
        "not opened. If nobody wants it closed:\n    ALTER DATABASE "
        f"{sql.Identifier(name).as_string(connection)} ALLOW_CONNECTIONS true;"
        for name in left
    )


def _rename_back(connection: Connection, beside: str, live: str) -> None:
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    connection.execute(statement.format(sql.Identifier(beside), sql.Identifier(live)))


def _lost(live: str, beside: str, kept: str) -> str:
    return (
        f"There is no database {live}; looked for {beside} and {kept} too. Somebody renamed or "
        "dropped it outside deploy_ops. Nothing was changed. See what there is:\n    psql -l"
    )
