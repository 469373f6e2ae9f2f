"""The part of the contract about Django's own connection of an alias: the one that migrates."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import ClassVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.facts import Facts
from deploy_ops.errors import UsageError
from deploy_ops.databases.values import (
    Backend,
    ClientSession,
    Ended,
    IndexState,
    Invalid,
    Outcome,
    Relation,
    RowCounts,
    LockSamples,
    Schema,
    TableWork,
)


class Transactions(ABC):
    """What became of a transaction of the migrating connection: asked, not concluded.

    `begin` names a transaction that was just opened; the other questions take that name.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @abstractmethod
    def begin(self) -> str:
        """Name the transaction that was just opened, for the questions below; call it first."""

    @abstractmethod
    def before_commit(self, number: str) -> Ended:
        """Look at the transaction right before its COMMIT."""

    def had_company(self) -> bool:
        """Whether code of this process may have written over other connections since `begin`."""
        return False  # as where the transaction keeps all others from writing

    @abstractmethod
    def after_failure(self, number: str) -> Ended:
        """Look at the transaction after a failure, and undo what it did; raises nothing."""

    @abstractmethod
    def is_in_transaction(self) -> bool:
        """Whether the session is in any transaction, told without asking the server."""

    @abstractmethod
    def outcome(self, number: str) -> Outcome:
        """Ask what became of a transaction, from any session and at any time."""

    @abstractmethod
    def abort_evidence(self, number: str, outcome: Outcome) -> str | None:
        """The clause that says who vouches that a transaction has left nothing; None: nobody."""

    def forget(self, number: str) -> None:
        """Remove what `begin` may have left of a transaction that was ended by something else."""


class MigratingConnection(
    ABC
):  # pylint: disable=too-many-public-methods  # kinds differ in many ways
    """What kinds of databases know about the session that migrates, and what it finds there."""

    vendor: ClassVar[str]

    def __init__(self, alias: str) -> None:
        self.alias = alias

    counts_rows: ClassVar[bool] = False  # whether rows changed by a transaction can be told
    has_session_settings: ClassVar[bool] = False  # whether a SET lasts as long as its session

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Django's connection."""
        return connections[self.alias]

    def migrating_session(
        self, name: str, lock_timeout: timedelta
    ) -> AbstractContextManager[Callable[[], None]]:
        """Prepare the session for a migration; yields a function that prepares it again."""
        del name, lock_timeout
        return nullcontext(lambda: None)

    def server_timeouts(self) -> Mapping[str, str]:
        """Time-outs of the server or the role that can end a migration."""
        return {}

    def lock_holders(self, tables: Iterable[str]) -> list[str]:
        """Say who holds locks on the tables, where that can be told."""
        del tables
        return []

    def is_behind_autovacuum(self, tables: Iterable[str]) -> bool:
        """Whether an autovacuum is at work on one of the tables."""
        del tables
        return False

    def deadlock_timeout(self) -> timedelta:
        """How long an autovacuum has to be waited for until the server ends it."""
        return timedelta(0)

    def outwaiting_vacuum(self, tables: Iterable[str]) -> AbstractContextManager[bool]:
        """Wait in the block until a vacuum of the tables gives way; yields whether there is one."""
        del tables
        return nullcontext(False)

    # pylint: disable-next=useless-return
    def table_sizes(self, tables: Iterable[str]) -> Mapping[str, int] | None:
        """Bytes of each table that exists, indexes included; None where that cannot be told."""
        del tables
        return None

    def facts(self) -> Facts:
        """What a migration meets here; only PostgreSQL tells it."""
        return Facts()

    def backends_named(self, name: str) -> list[Backend]:
        """Server processes of sessions with this application name."""
        del name
        return []

    def client_sessions(self) -> list[ClientSession]:
        """The sessions of other processes, where a server has any."""
        return []

    def end_backends(self, pids: Iterable[int]) -> None:
        """End server processes; what they had open rolls back."""

    def table_work(self) -> Mapping[int, TableWork]:
        """What was done to each table so far, by its number, where that can be told."""
        return {}

    def forbid_writes(self) -> None:
        """Let this session only read from now on."""
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")

    def lock_sampler(
        self, name: str, modes: Iterable[str]
    ) -> Callable[[], AbstractContextManager[LockSamples]]:
        """Make what looks at locks in database `name`; raises UsageError without such locks."""
        del name, modes
        raise UsageError(
            f"Database '{self.alias}' is SQLite, where a migration keeps all others out anyway, so "
            "a rehearsal tells nothing. Nothing was changed. Leave --rehearse out."
        )

    def schema_changes_in_transaction(self) -> AbstractContextManager[None]:
        """Let schema editors work inside a transaction of the caller's."""
        return nullcontext()

    def check_deferred_constraints(self) -> None:
        """Let deferred constraints fail now, in the open transaction."""

    @property
    @abstractmethod
    def transactions(self) -> Transactions:
        """What became of transactions of this connection."""

    def counted(self, work: Callable[[], None]) -> RowCounts | None:
        """Do some work in a transaction of its own; return the rows that it changed, if known."""
        work()
        return {}

    @abstractmethod
    def schema(self) -> Schema:
        """Read the whole schema; raises ProgramError, DatabaseUnavailable."""

    def catalog_digests(self) -> dict[str, str]:
        """A hash of each catalog's rows, for "nothing happened at all"; empty if there are none."""
        return {}

    def invalid_objects(self) -> Iterator[Invalid]:
        """Indexes and constraints that are not valid."""
        return iter(())

    def relations(self) -> dict[int, Relation]:
        """Tables and views by their number; empty where `counts_rows` is not."""
        return {}

    def rows_of_transaction(self) -> RowCounts:
        """Rows that the open transaction has changed so far; empty where `counts_rows` is not."""
        return {}

    def partitions_of(self, tables: Iterable[str]) -> frozenset[int]:
        """Numbers of the tables and of all that is attached to them."""
        del tables
        return frozenset()

    def index_state(self, name: str) -> IndexState | None:
        """What is known of an index; None if there is none of that name."""
        raise NotImplementedError(f"{self.vendor} builds no index concurrently: {name}")

    def drop_index(self, name: str) -> None:
        """Drop an index without making others wait."""
        raise NotImplementedError(f"{self.vendor} drops no index concurrently: {name}")

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Whether the session finds a table of that name."""

    def lock_tables(self, tables: list[str]) -> None:
        """Keep everybody else out of the tables until the transaction ends."""

    @abstractmethod
    def differs(self, column: str, type_: str) -> str:
        """SQL for whether a column reads other than a parameter of the type.

        `=` takes some for the same that are not: citext, and collations without case.
        """

    @abstractmethod
    def keep_rows(self, table: str) -> str | None:
        """Copy a table's rows to a kept table and return its name; None if it has no rows."""
