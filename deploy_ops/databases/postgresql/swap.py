"""The swap of two databases by their names, in a moment, with nobody connected.

Closing (ALLOW_CONNECTIONS false) keeps out even superusers, so that between the last session's
end and the second name nothing can write. Both renames are one transaction: at any kill there is
a database of the live name. What a kill can leave is a closed door, which `repair` opens, by the
mark that whoever closes it leaves in the server (closing.py).
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from psycopg import sql

from deploy_ops.advice import manage
from deploy_ops.databases.postgresql import closing, names, properties
from deploy_ops.databases.postgresql.closing import Mark, Purpose
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.databases.postgresql.sessions import POLL_SECONDS, end_sessions, refuse_prepared
from deploy_ops.errors import DeployOpsError, RestoreFailed, SwapUnfinished
from deploy_ops.redact import error_text

# For all of it: ending sessions, the proof that nobody wrote, renaming. RENAME itself waits up to
# 5 s for what it finds in the database, each time.
DOOR = timedelta(seconds=10)
LOCK_TIMEOUT_MS = 200

SWAPPING = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE pid::text = %s AND application_name LIKE 'deploy_ops/swap/%%'
"""


def swap(
    server: Server, beside: str, previous: str, *, before: Callable[[], None], spare_pid: int | None
) -> None:
    """Give `beside` the live name and the live database the name `previous`.

    The session `spare_pid` may stay until `before` has returned, and has to end in it. The live
    database is closed for DOOR at most, whatever `before` takes; then it is open again as it was.
    """
    live = server.dbname
    try:
        with server.maintenance(application_name=f"deploy_ops/swap/{os.getpid()}") as connection:
            end_sessions(connection, beside, door_deadline())
            refuse_prepared(connection, live)  # first without keeping anybody out
            _carry_over(connection, live, beside)
            with _closed(
                connection, Mark.of(connection, Purpose.SWAP, live, beside, previous)
            ) as mark:
                deadline = door_deadline()
                end_sessions(connection, live, deadline, spare_pid)
                before()
                # Our own session has just ended; the server may take a moment to see it.
                end_sessions(connection, live, max(deadline, time.monotonic() + 1))
                pairs = ((live, previous), (beside, live))
                rename(connection, pairs, mark, deadline, marked=[previous])
    except psycopg.OperationalError as error:
        _look_again(server, beside, previous, error)


def _carry_over(connection: Connection, live: str, beside: str) -> None:
    """Give `beside` what was set for the live database since it was made."""
    wanted, has = (properties.properties_of(connection, name) for name in (live, beside))
    if wanted is None or has is None or wanted == has:
        return
    try:
        with connection.transaction():
            for statement in (
                *properties.reset_statements(beside, has["settings"]),
                *properties.revoke_statements(beside, has),
                *properties.carry_over_statements(beside, wanted),
            ):
                connection.execute(statement)
    except psycopg.OperationalError:
        raise
    except psycopg.DatabaseError as error:
        raise RestoreFailed(
            f"{live} was altered after {beside} was made, and the change cannot be carried over: "
            f"{error_text(error)}\n{live} is open and was not changed. Restore as a role that may: "
            "give it in DEPLOY_OPS_DIRECT_DATABASE_URL."
        ) from error


def door_deadline() -> float:
    """When a door that is closed now has to be open again, on the monotonic clock."""
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
        closing.reopen(connection, mark.live, Purpose.SWAP, is_ours=True)
        connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'deploy_ops', '')")


def _look_again(server: Server, beside: str, previous: str, error: Exception) -> None:
    """After the server's error, or none at all: whether COMMIT arrived it alone knows."""
    try:
        found = repair(server, beside, previous)
        with server.maintenance(application_name=f"deploy_ops/swap/{os.getpid()}") as connection:
            is_swapped = names.exists(connection, previous)
    except DeployOpsError as second:
        raise SwapUnfinished(
            f"The swap of {server.dbname} and {beside} was cut off:\n"
            f"{error_text(error)}\nWhether it took place is not known. Both databases are kept, "
            f"and {server.dbname} may refuse connections. Once the server answers, any host "
            f"repairs it by:\n{manage('restore', alias=server.alias)}"
        ) from second
    if not is_swapped:
        raise RestoreFailed(f"The swap was cut off: {error_text(error)}\n{found}") from error


def rename(
    connection: Connection,
    pairs: Iterable[tuple[str, str]],
    mark: Mark,
    deadline: float,
    *,
    marked: Iterable[str],
) -> None:
    """Rename databases, old and new name, in one transaction, and mark those of the names `marked`.

    Raises RestoreFailed if that is not done in time.
    """
    error: Exception | None = None
    while (left := deadline - time.monotonic()) > 0:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                connection.execute(f"SET LOCAL statement_timeout = {1 + int(left * 1000)}")
                for old, new in pairs:
                    _rename_one(connection, old, new)
                for name in marked:
                    closing.write_mark(connection, name, mark)
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


def repair(server: Server, beside: str, previous: str) -> str:
    """Finish or undo a swap that was killed; say what was found, done, and which databases stay."""
    live = server.dbname
    with server.maintenance(application_name=f"deploy_ops/repair/{os.getpid()}") as connection:
        there = [names.exists(connection, name) for name in (live, beside, previous)]
        if there == [False, True, True]:
            _rename_one(connection, beside, live)
            there = [True, False, True]
        elif not there[0]:
            raise SwapUnfinished(_lost(live, beside, previous))
        _end_swaps(connection, live)
        opened = closing.reopen(connection, live, Purpose.SWAP)
        still_closed = closing.left_closed(connection, live, Purpose.SWAP)
    report = _found(live, beside if there[1] else None, previous if there[2] else None)
    if opened:
        report += f" {' and '.join(opened)} had stayed closed and is open again."
    return report + still_closed


def _end_swaps(connection: Connection, live: str) -> None:
    """End the session of a swap that still goes on: its process has lost the deploy lock to us."""
    for each in closing.marked_databases(connection, live, Purpose.SWAP):
        connection.execute(SWAPPING, [each.mark.session])


def repair_marked(server: Server) -> str:
    """The same for swaps of any host, by the marks that they left in the server; "" for none."""
    with server.maintenance(application_name=f"deploy_ops/repair/{os.getpid()}") as connection:
        marks = {
            each.mark for each in closing.marked_databases(connection, server.dbname, Purpose.SWAP)
        }
    return "\n".join(
        f"A restore by {mark.by}, begun {mark.at}, had been cut off. "
        + repair(server, mark.beside, mark.previous)
        for mark in sorted(marks, key=lambda mark: mark.at)
    )


def _found(live: str, beside: str | None, previous: str | None) -> str:
    if previous and not beside:
        return (
            f"The swap was complete: {live} is the restored database. The database before it "
            f"is kept as {previous}."
        )
    if beside and not previous:
        return (
            f"The swap had not taken place: {live} is the database before the restore. What "
            f"was restored is kept as {beside}."
        )
    if beside:
        return (
            f"Somebody has renamed databases since: {live}, {beside} and {previous} are all there."
        )
    return f"{live} is there, and nothing beside it any more: somebody has dropped that since."


def _rename_one(connection: Connection, old: str, new: str) -> None:
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    connection.execute(statement.format(sql.Identifier(old), sql.Identifier(new)))


def _lost(live: str, beside: str, previous: str) -> str:
    return (
        f"There is no database {live}; looked for {beside} and {previous} too. Somebody renamed or "
        "dropped it outside deploy_ops. Nothing was changed. See what there is:\n    psql -l"
    )
