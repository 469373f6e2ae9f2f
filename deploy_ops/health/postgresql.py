"""The probe's own connection to PostgreSQL. Imported only where psycopg is."""

import os
import threading
from dataclasses import replace
from typing import Any

import psycopg

from deploy_ops.databases.postgresql.server import Connection, application_server_of

# Connecting hangs on a host that drops packets (psycopg would wait 130 s), and so does a query on
# a connection that stood when the network went. A frozen server is the probe's to bound.
LIMITS = {"connect_timeout": "2", "tcp_user_timeout": "2000"}


class PostgresqlConnection:
    """One connection per process, never the request's, made again once if it went stale.

    It goes where the application goes, through a pooler if there is one: a dead pooler is a
    database that cannot be reached.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._inherited: list[Connection] = []
        os.register_at_fork(after_in_child=self._leave_to_the_parent)

    def ping(self) -> None:
        """Raise DatabaseUnavailable or psycopg.Error unless the server answers."""
        self.rows("SELECT 1")

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement."""
        with self._lock:
            if self._connection is not None:
                try:
                    return _fetch(self._connection, statement)
                except psycopg.OperationalError:  # restarted, or its idle sessions were ended
                    self._connection.close()
            self._connection = self._connect()
            return _fetch(self._connection, statement)

    def _connect(self) -> Connection:
        self._connection = None
        server = application_server_of(self._alias)
        limited = replace(server, parameters={**server.parameters, **LIMITS}, role=None)
        connection = limited.connect(application_name="deploy_ops/health")
        # A prepared statement lives in a session, and behind a pooler the next one may be another.
        connection.prepare_threshold = None
        return connection

    def _leave_to_the_parent(self) -> None:
        """Keep what a fork copied without using or closing it: the parent's session goes on."""
        self._lock = threading.Lock()
        if self._connection is not None:
            self._inherited.append(self._connection)
            self._connection = None


def _fetch(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode()).fetchall()
