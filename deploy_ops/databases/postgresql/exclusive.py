"""A database for one process alone, for a while: planned downtime.

A closed database (ALLOW_CONNECTIONS false) would keep our own programs out too. So the database
gets another name, known to this process only, and an empty one that is closed takes the live name,
both in one transaction. Clients are told `database "kvb" is not currently accepting connections`.
At any kill there is a database of the live name, and the mark on it (closing.py) tells any host
where the data is; `reopen` gives it its name back.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from deploy_ops.advice import manage
from deploy_ops.databases.postgresql import closing, names, swap
from deploy_ops.databases.postgresql.closing import Mark, Purpose
from deploy_ops.databases.postgresql.server import Connection, Server, quoted
from deploy_ops.databases.postgresql.sessions import (
    end_sessions,
    refuse_prepared,
    wait_for_superusers,
)
from deploy_ops.errors import DeployOpsError, NotExclusive, RestoreFailed, SwapUnfinished
from deploy_ops.interrupts import no_more_interrupts
from deploy_ops.redact import error_text

SUBSCRIPTIONS = """
    SELECT subname FROM pg_subscription
    WHERE subenabled AND subdbid = (SELECT oid FROM pg_database WHERE datname = %s) ORDER BY 1
"""


def close(server: Server, check_lock: Callable[[], None]) -> Mark:
    """End all sessions and let nobody in; the mark's `previous` is its name from then on.

    `check_lock` raises where the deploy lock was lost meanwhile, and another host may be at work.
    Raises NotExclusive, with the database open under its own name.
    """
    live, stamp = server.dbname, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside, empty = (names.name_beside(live, f"{word}_{stamp}") for word in ("exclusive", "closed"))
    with _maintenance(server) as connection:
        mark = Mark.of(connection, Purpose.EXCLUSIVE, live, empty, aside)
        try:
            refuse_prepared(connection, live)
            _refuse_subscriptions(connection, live)
            wait_for_superusers(connection, live)
            _create_closed(connection, mark)
            check_lock()
            closing.close(connection, live, mark)
            deadline = swap.door_deadline()
            end_sessions(connection, live, deadline)
            check_lock()
            pairs = ((live, aside), (empty, live))
            swap.rename(connection, pairs, mark, deadline, marked=[live, aside])
            closing.open_again(connection, aside)
        except BaseException as error:
            no_more_interrupts()
            reopen(server, mark)
            if isinstance(error, psycopg.Error | RestoreFailed):
                raise NotExclusive(
                    f"{live} could not be closed to others: {error_text(error)}\n"
                    "No migration was begun."
                ) from error
            raise
    return mark


def reopen(server: Server, only: Mark | None = None) -> str:
    """Give databases that were closed to others their name back; say what was done, "" if nothing.

    Finishes and undoes whatever a kill has left, at any moment of `close` or of itself. With
    `only` that one alone. Raises SwapUnfinished where the live name cannot be given back.
    """
    live = server.live_name
    try:
        with _maintenance(server) as connection:
            found = closing.marked_databases(connection, live, Purpose.EXCLUSIVE)
            marks = {each.mark for each in found if only in (None, each.mark)}
            return "\n".join(
                _reopen(connection, server, mark)
                for mark in sorted(marks, key=lambda mark: mark.at)
            )
    except SwapUnfinished:
        raise
    except (psycopg.Error, DeployOpsError) as error:
        raise SwapUnfinished(
            f"{live} may still be closed to others: {error_text(error)}\n"
            "This gives it its name back and opens it, on any host:\n"
            + manage("restore", alias=server.alias)
        ) from error


def _maintenance(server: Server) -> Connection:
    return server.maintenance(application_name=f"deploy_ops/exclusive/{os.getpid()}")


def _refuse_subscriptions(connection: Connection, live: str) -> None:
    """Raise for what would go on writing: its workers know the database by its number."""
    subscribed = [name for (name,) in connection.execute(SUBSCRIPTIONS, [live]).fetchall()]
    if subscribed:
        disable = sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(subscribed[0]))
        raise RestoreFailed(
            f"it has subscriptions, which go on writing: {', '.join(subscribed)}. {live} is open "
            f"and was not changed. Disable each:\n    {disable.as_string(connection)};"
        )


def _create_closed(connection: Connection, mark: Mark) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(mark.beside))
    connection.execute(statement)
    closing.close(connection, mark.beside, mark)


def _reopen(connection: Connection, server: Server, mark: Mark) -> str:
    if names.exists(connection, mark.previous):
        _give_name_back(connection, mark)
    _drop_empty(connection, server, mark)
    closing.reopen(connection, mark.live, Purpose.EXCLUSIVE)
    left = closing.left_closed(connection, mark.live, Purpose.EXCLUSIVE)
    return f"{mark.by} had closed {mark.live} to others on {mark.at}, and was cut off." + (
        left or " It is open again."
    )


def _give_name_back(connection: Connection, mark: Mark) -> None:
    live, empty, aside = mark.live, mark.beside, mark.previous
    pairs = [(aside, live)]
    if names.exists(connection, live):
        if not _is_marked(connection, live):
            raise SwapUnfinished(
                f"The data of {live} are in {aside}, so named for a run with --exclusive. An empty "
                f"database took the name {live} meanwhile; what has that name now is not it, or "
                f"was altered since. Neither was changed. Look at {live}, rename or drop it, then "
                f"give {aside} its name back in psql:\n"
                f"    ALTER DATABASE {quoted(connection, aside)} "
                f"RENAME TO {quoted(connection, live)};"
            )
        pairs = [(live, empty), *pairs]
    closing.reopen(connection, aside, Purpose.SWAP)  # of a restore that was killed in between
    closing.close(connection, aside, mark)
    try:
        deadline = swap.door_deadline()
        end_sessions(connection, aside, deadline)
        swap.rename(connection, pairs, mark, deadline, marked=[new for _, new in pairs])
    except RestoreFailed:
        closing.open_again(connection, aside)  # as the error says
        raise


def _drop_empty(connection: Connection, server: Server, mark: Mark) -> None:
    """Drop the empty database; one that somebody may have opened meanwhile stays."""
    found = closing.marked_databases(connection, mark.live, Purpose.EXCLUSIVE)
    for each in found:
        if each.name == mark.beside and each.is_untouched and not each.is_open:
            names.drop(connection, server, each.name)


def _is_marked(connection: Connection, name: str) -> bool:
    found = closing.marked_databases(connection, name, Purpose.EXCLUSIVE)
    return any(each.name == name and each.is_untouched for each in found)
