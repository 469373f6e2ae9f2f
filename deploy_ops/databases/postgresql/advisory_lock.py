"""The part of the deploy lock that every host sees: an advisory lock of PostgreSQL."""

import os
import select
import socket
from datetime import datetime

import psycopg

from deploy_ops.databases.postgresql.server import (
    Connection,
    Server,
    lock_key,
    refuse_pooler,
    scalar,
    server_of,
)
from deploy_ops.errors import DatabaseUnavailable, LockLost
from deploy_ops.lock_file import Holder

PREFIX = "deploy_ops/"
HOLDERS = """
    SELECT activity.application_name, activity.pid, activity.backend_start
    FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
    WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
      AND (lock.classid::bigint << 32) | lock.objid::bigint = %s
      AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY activity.backend_start
"""


def _refuse_pooler(server: Server) -> None:
    """Refuse a pooler; a database that a killed restore left closed must not stop the lock."""
    try:
        refuse_pooler(server)
    except DatabaseUnavailable:
        try:
            server.maintenance(application_name="deploy_ops/probe").close()
        except DatabaseUnavailable:
            pass
        else:
            return
        raise


class AdvisoryGuard:
    """A session-level advisory lock on an idle autocommit connection of its own."""

    def __init__(self, alias: str, purpose: str, shared: bool) -> None:
        server = server_of(alias)
        _refuse_pooler(server)
        name = f"{PREFIX}{purpose}/{os.getpid()}@{socket.gethostname()}"
        self._connection: Connection = server.maintenance(application_name=name)
        # An idle session is what this is; the server must not end it for that. But it shall
        # notice within a minute when our host is gone, and free the lock.
        self._connection.execute(
            "SET idle_session_timeout = 0; SET tcp_keepalives_idle = 30;"
            " SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
        )
        self._key = lock_key("deploy_ops", server.live_name)
        self._function = "pg_try_advisory_lock_shared" if shared else "pg_try_advisory_lock"

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or say who holds it."""
        if scalar(self._connection, f"SELECT {self._function}(%s)", [self._key]):
            return None
        holder = self._connection.execute(HOLDERS, [self._key]).fetchone()
        if holder is None:
            return "a session that has just ended"
        name, pid, since = holder
        spoken = f"{since:%Y-%m-%d %H:%M:%S %Z}" if since else "an unknown time"
        return f"{name} (server process {pid}) since {spoken}"

    def check(self) -> None:
        """Raise LockLost if the connection is gone, and the lock with it.

        A server that ends the session says so, and one that vanishes makes the keepalives fail:
        as long as there is nothing to read, it need not be asked.
        """
        if not self._connection.closed and not _has_news(self._connection):
            return
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise LockLost(
                "The connection that held the deploy lock is gone, so another deployment may "
                "have started. Stopped before the next step. Check what else is running, then run "
                "the command again."
            ) from error

    def release(self) -> None:
        """Give the lock back by closing its connection."""
        self._connection.close()


def lock_holders(alias: str) -> list[Holder]:
    """Who holds the lock of an alias, read from the server: nobody has to wait for that."""
    server = server_of(alias)
    with server.maintenance(application_name=f"{PREFIX}look") as connection:
        rows = connection.execute(HOLDERS, [lock_key("deploy_ops", server.live_name)]).fetchall()
    return [_holder(name, since) for name, _, since in rows]


def _holder(name: str, since: datetime | None) -> Holder:
    """Read `deploy_ops/<purpose>/<pid>@<host>` again; the host may have been cut off."""
    purpose, _, process = name.removeprefix(PREFIX).partition("/")
    pid, _, host = process.partition("@")
    return Holder(purpose, int(pid) if pid.isdecimal() else 0, host, since)


def _has_news(connection: Connection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
