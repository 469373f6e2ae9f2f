"""Django's connection to PostgreSQL, the one that migrates, and what it finds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import ClassVar

from django.db import transaction

from deploy_ops.databases.facts import Facts
from deploy_ops.databases.migrating import MigratingConnection
from deploy_ops.databases.postgresql import activity, facts, rows, schema, session
from deploy_ops.databases.postgresql.lock_samples import Samples, sampled_locks
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.databases.postgresql.transactions import PostgresqlTransactions
from deploy_ops.databases.values import (
    Backend,
    ClientSession,
    IndexState,
    Invalid,
    Relation,
    RowCounts,
    Schema,
    TableWork,
)


class PostgresqlConnection(MigratingConnection):  # pylint: disable=too-many-public-methods
    """The session that migrates."""

    counts_rows: ClassVar[bool] = True
    has_session_settings: ClassVar[bool] = True

    def migrating_session(
        self, name: str, lock_timeout: timedelta
    ) -> AbstractContextManager[Callable[[], None]]:
        """Prepare the session for a migration; yields a function that prepares it again."""
        return session.migrating_session(self.connection, name, lock_timeout)

    def table_work(self) -> Mapping[int, TableWork]:
        """What was done to each table so far, by its number."""
        return rows.table_work(self.connection)

    def forbid_writes(self) -> None:
        """Let this session only read from now on."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")

    def lock_sampler(
        self, name: str, modes: Iterable[str]
    ) -> Callable[[], AbstractContextManager[Samples]]:
        """Make what looks at the locks of all other sessions of database `name`."""
        server = server_of(self.alias)
        return lambda: sampled_locks(server, name, modes)

    def server_timeouts(self) -> Mapping[str, str]:
        """Time-outs of the server or the role that can end a migration."""
        return session.server_timeouts(self.connection)

    def lock_holders(self, tables: Iterable[str]) -> list[str]:
        """Say who holds locks on the tables."""
        return session.lock_holders(self.connection, tables)

    def is_behind_autovacuum(self, tables: Iterable[str]) -> bool:
        """Whether an autovacuum is at work on one of the tables."""
        return session.is_behind_autovacuum(self.connection, tables)

    def deadlock_timeout(self) -> timedelta:
        """How long an autovacuum has to be waited for until the server ends it."""
        return session.deadlock_timeout(self.connection)

    def outwaiting_vacuum(self, tables: Iterable[str]) -> AbstractContextManager[bool]:
        """Wait in the block until a vacuum of the tables gives way; yields whether there is one."""
        return session.outwaiting_vacuum(self.connection, tables)

    def table_sizes(self, tables: Iterable[str]) -> Mapping[str, int] | None:
        """Bytes of each table that exists, indexes included."""
        return session.table_sizes(self.connection, tables)

    def facts(self) -> Facts:
        """What a migration meets here."""
        return facts.read_facts(self.connection)

    def backends_named(self, name: str) -> list[Backend]:
        """Server processes of sessions with this application name."""
        return session.backends_named(self.connection, name)

    def client_sessions(self) -> list[ClientSession]:
        """The sessions of other processes, oldest first."""
        return activity.client_sessions(self.connection)

    def end_backends(self, pids: Iterable[int]) -> None:
        """End server processes; what they had open rolls back."""
        session.end_backends(self.connection, pids)

    def check_deferred_constraints(self) -> None:
        """Let deferred constraints fail now, in the open transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")

    @property
    def transactions(self) -> PostgresqlTransactions:
        """What became of transactions of this connection."""
        return PostgresqlTransactions(self.connection)

    def counted(self, work: Callable[[], None]) -> RowCounts | None:
        """Do some work in a transaction of its own; return the rows that it changed."""
        with transaction.atomic(self.alias):
            work()
            return rows.rows_of_transaction(self.connection)

    def schema(self) -> Schema:
        """Read the whole schema with pg_dump; raises ProgramError, DatabaseUnavailable."""
        return schema.dump_schema(server_of(self.alias))

    def catalog_digests(self) -> dict[str, str]:
        """A hash of each catalog's rows, for "nothing happened at all"."""
        return schema.catalog_digests(self.connection)

    def invalid_objects(self) -> Iterator[Invalid]:
        """Indexes and constraints that are not valid."""
        return schema.invalid_objects(self.connection)

    def relations(self) -> dict[int, Relation]:
        """Tables and views by their number."""
        return schema.relations(self.connection)

    def rows_of_transaction(self) -> RowCounts:
        """Rows that the open transaction has changed so far."""
        return rows.rows_of_transaction(self.connection)

    def partitions_of(self, tables: Iterable[str]) -> frozenset[int]:
        """Numbers of the tables and of all that is attached to them."""
        return rows.partitions_of(self.connection, list(tables))

    def index_state(self, name: str) -> IndexState | None:
        """What is known of an index; None if there is none of that name."""
        return rows.index_state(self.connection, name)

    def drop_index(self, name: str) -> None:
        """Drop an index without making others wait."""
        rows.drop_index(self.connection, name)

    def has_table(self, name: str) -> bool:
        """Whether the session finds a table of that name."""
        return rows.has_table(self.connection, name)

    def lock_tables(self, tables: list[str]) -> None:
        """Keep everybody else out of the tables until the transaction ends."""
        rows.lock_tables(self.connection, tables)

    def differs(self, column: str, type_: str) -> str:
        """SQL for whether a column reads other than a parameter of the type."""
        return f'{column}::text COLLATE "C" <> (%s::{type_})::text'

    def keep_rows(self, table: str) -> str | None:
        """Copy a table's rows to a kept table and return its name; None if it has no rows."""
        return rows.keep_rows(self.connection, table)
