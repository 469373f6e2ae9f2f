"""PostgreSQL: one database of a server, past a pooler."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import ClassVar

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.advice import manage
from deploy_ops.databases.base import (
    Answer,
    Counts,
    Database,
    Guard,
    Identity,
    Json,
    RowCounts,
    Writes,
    database_key,
)
from deploy_ops.databases.postgresql import (
    activity,
    closing,
    exclusive,
    materialized_views,
    names,
    own_sessions,
    pgbouncer,
    properties,
    sessions,
    swap,
    writes,
)
from deploy_ops.databases.postgresql.advisory_lock import AdvisoryGuard, lock_holders
from deploy_ops.databases.postgresql.migrating import PostgresqlConnection
from deploy_ops.databases.postgresql.replacing import PostgresqlRows
from deploy_ops.databases.postgresql.write_position import WritePosition, take_write_position
from deploy_ops.databases.postgresql.tables import count_rows
from deploy_ops.databases.postgresql.server import (
    Connection,
    Server,
    direct_connection,
    quoted,
    renamed,
    require_version,
    scalar,
    server_of,
    system_identifier,
)
from deploy_ops.errors import DatabaseUnavailable, RestoreRefused
from deploy_ops.interrupts import no_more_interrupts
from deploy_ops.lock_file import Holder
from deploy_ops.redact import error_text

# Also "", libpq's default, and every socket directory.
LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})

IDENTIFY = "deploy_ops/identify"


# pylint: disable-next=too-many-public-methods
class PostgresqlDatabase(PostgresqlConnection, PostgresqlRows, Database):
    """One PostgreSQL database, reached directly (see server.py)."""

    vendor: ClassVar[str] = "postgresql"
    has_clones: ClassVar[bool] = True

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._witness: Connection | None = None

    @property
    def database_name(self) -> str:
        """Name of the live database."""
        return self._server.live_name

    @property
    def _server(self) -> Server:
        return server_of(self.alias)

    @contextmanager
    def connected_directly(self) -> Iterator[None]:
        """Point Django's connection at DEPLOY_OPS_DIRECT_DATABASE_URL, if it is set."""
        with direct_connection(self.alias):
            yield

    @contextmanager
    def closed_to_others(self, check_lock: Callable[[], None]) -> Iterator[None]:
        """End all sessions and let only this process in for the block; raises NotExclusive."""
        self.connection.close()
        server = self._server
        mark = exclusive.close(server, check_lock)
        try:
            with renamed(self.alias, mark.previous):
                yield
        finally:
            no_more_interrupts()
            exclusive.reopen(server, mark)

    def guard(self, purpose: str, shared: bool) -> Guard:
        """Make the advisory lock; raises PoolerRefused, DatabaseUnavailable."""
        return AdvisoryGuard(self.alias, purpose, shared)

    def deploy_lock_holders(self) -> list[Holder]:
        """Ask the server, which every host takes the lock at."""
        return lock_holders(self.alias)

    def identify(self) -> Identity:
        """Say which database this is; raises DatabaseUnavailable, VersionRefused."""
        server = self._server
        with self._told_if_closed(), server.connect(application_name=IDENTIFY) as connection:
            require_version(connection)
            query = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
            return Identity(
                engine=self.vendor,
                name=server.live_name,
                host=server.host,
                port=server.port,
                system_identifier=system_identifier(connection),
                oid=scalar(connection, query),
                server_version=connection.info.server_version,
                size_bytes=scalar(connection, "SELECT pg_database_size(current_database())"),
            )

    @contextmanager
    def _told_if_closed(self) -> Iterator[None]:
        """Add to the error that there is a command of ours which closed the database."""
        try:
            yield
        except DatabaseUnavailable as error:
            if not (closed := self._closed_by()):
                raise
            raise DatabaseUnavailable(
                f"{error}\n{self.database_name} was closed by {' and '.join(closed)}. If that "
                f"is no longer running, this opens it:\n{manage('restore', alias=self.alias)}"
            ) from error

    def _closed_by(self) -> list[str]:
        """Who closed the live database and marked that; nobody, if the whole server is away."""
        try:
            with self._server.maintenance(application_name=IDENTIFY) as connection:
                return closing.closed_by(connection, self._server.live_name)
        except DatabaseUnavailable:
            return []

    def write_position(self) -> Json:
        """Take the present position of writes."""
        with self._looking() as connection:
            return take_write_position(connection).as_json()

    def writes_since(self, position: Json, *, own_rows: RowCounts | None) -> Writes:
        """Tell what others wrote since; proof only inside `before` of a swap (see writes.py)."""
        if not position:
            why = "the position of writes at that moment is not known"
            return Writes(Answer.UNKNOWABLE, {}, why)
        _report_counters(connections[self.alias])
        with self._looking() as connection:
            return writes.writes_since(
                self._server, connection, WritePosition.from_json(position), own_rows
            )

    def anybody_wrote(self, position: Json) -> Writes:
        """Tell whether anybody at all, this process included, changed a row since the position."""
        _report_counters(connections[self.alias])
        if own_sessions.beside(connections[self.alias]).pids:
            why = "code of this process has other connections, whose counters come later"
            return Writes(Answer.UNKNOWN, {}, why)
        with self._looking() as connection:
            return writes.anybody_wrote(connection, WritePosition.from_json(position))

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        """Yield a connection to the live database: during a swap, the one that is let stay."""
        if self._witness is not None:
            yield self._witness
            return
        with self._server.connect(application_name=f"deploy_ops/look/{os.getpid()}") as connection:
            yield connection

    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count every table of database `name`, and read its sequences."""
        with self._answering(name):
            return count_rows(self._server, name)

    def view_differences(self, name: str, recorded: Json) -> list[str]:
        """Compare the contents of materialized views with those at the backup."""
        with self._answering(name):
            return materialized_views.differences(self._server, name, recorded) if recorded else []

    def property_differences(self, recorded: Json) -> list[str]:
        """Compare owner, privileges, settings and so on, which no schema has."""
        server = self._server
        with server.maintenance(application_name=IDENTIFY) as connection:
            now = properties.properties_of(connection, server.dbname) or {}
        return [name for name in sorted(now) if recorded.get(name) != now[name]]

    @contextmanager
    def _answering(self, name: str) -> Iterator[None]:
        """Turn a server that goes away, and what may not be read, into DatabaseUnavailable."""
        try:
            yield
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(
                f"The server went away while {name} was read: {error}".rstrip()
                + "\nWhat is in it is not known."
            ) from error
        except psycopg.DatabaseError as error:
            raise DatabaseUnavailable(
                f"Not all rows of {name} can be read: {error_text(error)}\nIf somebody was "
                "changing tables, run this again. Else let this role read all of them, or give one "
                "that may in DEPLOY_OPS_DIRECT_DATABASE_URL."
            ) from error

    def name_beside(self, suffix: str) -> str:
        """Name a database beside the live one, within 63 bytes."""
        return names.name_beside(self._server.live_name, suffix)

    def wait_for_swap(self) -> None:
        """Wait for sessions of superusers."""
        with self._server.maintenance(application_name=IDENTIFY) as connection:
            sessions.wait_for_superusers(connection, self._server.dbname)

    def swap(self, beside: str, previous: str, *, before: Callable[[], None]) -> None:
        """Swap the two; `writes_since` called by `before` gives proof."""
        server = self._server
        connections[self.alias].close()
        with server.connect(application_name=f"deploy_ops/witness/{os.getpid()}") as witness:
            self._witness = witness

            def witnessed() -> None:
                before()
                witness.close()

            try:
                pid = witness.info.backend_pid
                swap.swap(server, beside, previous, before=witnessed, spare_pid=pid)
            finally:
                self._witness = None

    def paused(self, within: timedelta, *, cuts_off: bool) -> AbstractContextManager[object]:
        """Pause PgBouncer, where its console is known."""
        return pgbouncer.paused(self.alias, within, cuts_off=cuts_off)

    @property
    def pauses_clients(self) -> bool:
        """Where PgBouncer's console is known."""
        return pgbouncer.is_configured(self.alias)

    def resume_clients(self) -> str:
        """Ask PgBouncer, where its console is known."""
        return pgbouncer.resume(self.alias)

    def clients_elsewhere(self) -> list[str]:
        """Ask the server for sessions, and the heartbeats for processes without one."""
        if self.pauses_clients:
            return []  # wherever they are, they can be paused
        with self._answering(self.database_name), self._looking() as connection:
            return activity.clients_elsewhere(connection)

    def repair_swap(self, beside: str, previous: str) -> str:
        """Finish or undo a swap that was killed; say in one sentence what was found and done."""
        reopened = exclusive.reopen(self._server)
        repaired = swap.repair(self._server, beside, previous)
        return "\n".join(filter(None, [reopened, repaired, self.resume_clients()]))

    def local_place(self) -> tuple[str, ...]:
        """Name it by host, port and name; two host names of one server are two places."""
        server = self._server
        host = "" if server.host in LOOPBACK or server.host.startswith("/") else server.host
        return self.vendor, host, server.port, server.live_name

    def key(self) -> str:
        """Key it by cluster and name, over the maintenance database."""
        server = self._server
        with server.maintenance(application_name=IDENTIFY) as connection:
            return database_key(self.vendor, system_identifier(connection), server.live_name)

    def is_left_closed(self) -> bool:
        """Whether a killed command of any host left its mark; not if the whole server is away."""
        return bool(self._closed_by())

    def repair_marked(self) -> str:
        """Repair what killed commands of any host left, by their marks in the server."""
        report = [exclusive.reopen(self._server)]
        if repaired := swap.repair_marked(self._server):
            report += [repaired, self.resume_clients()]
        return "\n".join(filter(None, report))

    def drop(self, name: str) -> None:
        """Drop a database beside the live one; raises RestoreRefused for the live one."""
        with self._server.maintenance(application_name="deploy_ops/drop") as connection:
            try:
                names.drop(connection, self._server, name)
            except psycopg.DatabaseError as error:
                raise RestoreRefused(
                    f"Database {name} could not be dropped, and stays: {error_text(error)}\n"
                    f"As a role that may, in psql:\n    DROP DATABASE {quoted(connection, name)};"
                ) from error

    def databases_beside(self) -> list[str]:
        """Names of the databases that restores left or made, oldest first."""
        with self._server.maintenance(application_name="deploy_ops/list") as connection:
            return names.databases_beside(connection, self._server.live_name)


def _report_counters(connection: BaseDatabaseWrapper) -> None:
    """Let Django's own session report now what callers pass as `own_rows`."""
    if connection.connection is not None and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
