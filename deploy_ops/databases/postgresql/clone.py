"""A copy of the live database beside it, file by file: CREATE DATABASE ... STRATEGY FILE_COPY.

The server holds a lock on the live database while it copies: whoever connects then waits, and is
not refused. Whoever is connected has to go first; the server waits five seconds for that, in which
the sessions are ended here. From PostgreSQL 18 on a file system that shares blocks (XFS, btrfs,
ZFS) copies nothing, and the time does not grow with the database (benchmarks/safety_points.py).
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg import sql

from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql import names, properties
from deploy_ops.databases.postgresql.server import Connection, Server, scalar
from deploy_ops.databases.postgresql.sessions import POLL_SECONDS, end_sessions
from deploy_ops.conf import conf
from deploy_ops.errors import DatabaseUnavailable, DeployOpsError, PointFailed, PointTooSlow
from deploy_ops.redact import error_text

# Those that have connected and not those that wait for it behind the copy.
CONNECTED = """
    SELECT pid FROM pg_stat_activity WHERE datname = %(name)s AND usesysid IS NOT NULL
    UNION SELECT pid FROM pg_locks
    WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND granted
      AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()
      AND objid = (SELECT oid FROM pg_database WHERE datname = %(name)s)
"""
SHARES_BLOCKS = """
    SELECT 'clone' = ANY (enumvals) FROM pg_settings WHERE name = 'file_copy_method'
"""
MAY_CLONE = """
    SELECT rolsuper OR rolcreatedb AND (datistemplate OR pg_has_role(datdba, 'USAGE'))
    FROM pg_database, pg_roles WHERE datname = %s AND rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Cloning:
    """How one was made: could blocks be shared, how long it took, and the live `properties`."""

    could_share: bool
    seconds: float
    properties: Json


def could_share(connection: Connection) -> bool:
    """Whether the server was built to let the file system share blocks."""
    return bool(scalar(connection, SHARES_BLOCKS))


def why_not(server: Server) -> str | None:
    """What speaks against it whatever the size: a sentence, None if nothing does."""
    if server.dbname == conf.maintenance_database:
        return (
            f"{server.dbname} is also DEPLOY_OPS_MAINTENANCE_DATABASE, from where it would be "
            "cloned"
        )
    with server.maintenance(application_name=_named()) as connection:
        if scalar(connection, "SELECT pg_is_in_recovery()"):
            return "the server is a standby, where nothing can be created"
        if not scalar(connection, MAY_CLONE, [server.dbname]):
            return "the role may not: it needs CREATEDB, and to be the owner of the database"
    return None


def checkpoint(server: Server) -> None:
    """Write out what is dirty, if the role may, so that the clone finds little left to write."""
    with server.maintenance(application_name=_named()) as connection:
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute("CHECKPOINT")


def clone(server: Server, name: str, *, within: timedelta, at_rest: Callable[[], None]) -> Cloning:
    """End the sessions in the live database and clone it to database `name`.

    `at_rest` is called when they have ended, before it is copied. What takes longer than `within`
    is cancelled. Raises PointFailed, and then there is no such database; DatabaseUnavailable if
    the server went away, and then there may be one.
    """
    with server.maintenance(application_name=_named()) as connection:
        recorded = properties.properties_of(connection, server.dbname)
        if recorded is None or names.exists(connection, name):
            raise PointFailed(f"There is no {server.dbname}, or there is a {name} already.")
        began = time.monotonic()
        try:
            end_sessions(connection, server.dbname, time.monotonic() + within.total_seconds())
            at_rest()
            began = time.monotonic()
            shares = _copy(server, connection, name, within)
            seconds = round(time.monotonic() - began, 3)
            _carry_over(connection, name, recorded)
        except BaseException as error:
            took = time.monotonic() - began
            _drop(server, name, error)
            # What ends earlier was cancelled by somebody.
            if isinstance(error, psycopg.errors.QueryCanceled) and took >= within.total_seconds():
                raise PointTooSlow(
                    f"{server.dbname} could not be cloned within {within.total_seconds():g} s, "
                    "in which nobody can connect to it (DEPLOY_OPS_CLONE_LIMIT)."
                ) from error
            if isinstance(error, psycopg.Error | DeployOpsError):
                raise PointFailed(
                    f"{server.dbname} could not be cloned: {error_text(error)}"
                ) from error
            raise
        return Cloning(shares, seconds, recorded)


def _named() -> str:
    return f"deploy_ops/clone/{os.getpid()}"


def _copy(server: Server, connection: Connection, name: str, within: timedelta) -> bool:
    """Copy in another session, while this one ends who comes in before the copy has its lock."""
    with (
        server.maintenance(application_name=_named()) as copying,
        ThreadPoolExecutor(1, "cloning") as pool,
    ):
        work = pool.submit(_create, copying, server.dbname, name, within)
        try:
            _keep_out(connection, server.dbname, work)
        except BaseException:
            copying.cancel_safe()
            raise
        return work.result()


def copy(server: Server, source: str, name: str) -> None:
    """Clone a database in which nobody is, however long that takes; raises PointFailed."""
    try:
        with server.maintenance(application_name=_named()) as connection:
            _create(connection, source, name, timedelta(0))
    except psycopg.Error as error:
        raise PointFailed(f"{source} could not be cloned: {error_text(error)}") from error


def _create(connection: Connection, source: str, name: str, within: timedelta) -> bool:
    """Whether blocks could be shared; the server removes what it does not finish."""
    shares = could_share(connection)
    connection.execute(f"SET statement_timeout = {int(within.total_seconds() * 1000)}")
    connection.execute("SET lock_timeout = 0")
    if shares:
        connection.execute("SET file_copy_method = clone")
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(source)))
    return shares


def _keep_out(connection: Connection, live: str, work: Future[bool]) -> None:
    while not work.done():
        for (pid,) in connection.execute(CONNECTED, {"name": live}).fetchall():
            with suppress(psycopg.errors.InsufficientPrivilege):  # it goes, or the copy fails
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        time.sleep(POLL_SECONDS)


def _carry_over(connection: Connection, name: str, recorded: Json) -> None:
    """Give it what lies outside of a database's files: owner, privileges, settings, comment."""
    statements = properties.carry_over_statements(name, recorded)
    if recorded["owner"] != scalar(connection, "SELECT current_user"):
        owner = sql.SQL("ALTER DATABASE {} OWNER TO {}")
        names_of_both = sql.Identifier(name), sql.Identifier(recorded["owner"])
        statements.insert(0, owner.format(*names_of_both))
    with connection.transaction():
        for statement in statements:
            connection.execute(statement)


def _drop(server: Server, name: str, error: BaseException) -> None:
    """Drop what may have been made after all; on another connection, since ours may be gone."""
    if isinstance(error, psycopg.errors.DuplicateDatabase):
        return  # somebody else's
    try:
        with server.maintenance(application_name=_named()) as connection:
            names.drop(connection, server, name)
    except (psycopg.Error, DatabaseUnavailable) as second:
        raise DatabaseUnavailable(
            f"The server went away while {server.dbname} was cloned: {error_text(error)}\nThe "
            f"database itself was not changed. {name} may have been made, and stays then."
        ) from second
