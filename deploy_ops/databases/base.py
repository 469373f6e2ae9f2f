"""What the other packages ask of a database: the contract of postgresql and sqlite."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import ClassVar, Protocol

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.values import (
    Answer,
    Backend,
    Counts,
    Ended,
    Identity,
    IndexState,
    Invalid,
    Json,
    Outcome,
    Relation,
    RowCounts,
    Schema,
    Writes,
    database_key,
)
from deploy_ops.errors import NotExclusive

__all__ = [
    "Database",
    "Guard",
    "Transactions",
    "Answer",
    "Backend",
    "Counts",
    "Ended",
    "Identity",
    "IndexState",
    "Invalid",
    "Json",
    "Outcome",
    "Relation",
    "RowCounts",
    "Schema",
    "Writes",
    "database_key",
]


class Guard(Protocol):
    """One of the locks that make up the deploy lock."""

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or say who holds it."""

    def check(self) -> None:
        """Raise LockLost if the lock is gone."""

    def release(self) -> None:
        """Give the lock back; safe to call twice."""


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
    def abort_evidence(self, number: str) -> str:
        """The clause that says who vouches for the abort of a transaction."""

    def forget(self, number: str) -> None:
        """Remove what `begin` may have left of a transaction that was ended by something else."""


class Database(ABC):  # pylint: disable=too-many-public-methods  # kinds differ in many ways
    """One database behind one alias. Instances hold no connection between calls."""

    vendor: ClassVar[str]

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def database_name(self) -> str:
        """Name of the live database, told without connecting to it."""
        return str(connections[self.alias].settings_dict["NAME"])

    @contextmanager
    def connected_directly(self) -> Iterator[None]:
        """Point Django's connection past a pooler for the block, where there is one."""
        yield

    def closed_to_others(self) -> AbstractContextManager[None]:
        """End all sessions and let only this process in for the block; raises NotExclusive.

        Open again in the end, or by `repair_marked` after a kill; SwapUnfinished if it cannot be.
        """
        raise NotExclusive(
            f"{self.database_name} is SQLite, which is not closed to others (--exclusive): a file "
            "has no sessions to end, and whether anybody else wrote to it is known all the same. "
            "Nothing was changed. Stop what uses it, and leave --exclusive out."
        )

    def guard(self, purpose: str, shared: bool) -> Guard | None:  # pylint: disable=unused-argument
        """Make the part of the deploy lock that every host sees, where the server has one."""
        return None

    @abstractmethod
    def identify(self) -> Identity:
        """Say which database this is; raises DatabaseUnavailable."""

    @abstractmethod
    def write_position(self) -> Json:
        """Take the present position of writes (JSON), to be compared by `writes_since`."""

    @abstractmethod
    def writes_since(self, position: Json, *, own_rows: RowCounts | None) -> Writes:
        """Tell what others wrote since the position; `own_rows` are ours, None if not known."""

    def anybody_wrote(self, position: Json) -> Writes:
        """Tell whether anybody at all, this process included, changed a row since the position."""
        del position
        return Writes(Answer.UNKNOWN, {}, "this kind of database does not count writes")

    @abstractmethod
    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count every table of database `name`, and read its sequences."""

    def view_differences(self, name: str, recorded: Json) -> list[str]:
        """Compare what a restore computes anew with what was recorded; a sentence a difference.

        No proof against the backup: what it holds has been restored as it is.
        """
        del name, recorded
        return []

    @abstractmethod
    def name_beside(self, suffix: str) -> str:
        """Name a database beside the live one, within the limit on its length."""

    @abstractmethod
    def swap(self, beside: str, previous: str, *, before: Callable[[], None]) -> None:
        """Give `beside` the live name and the live database the name `previous`.

        `before` is called when no client can write any more; what it raises stops the swap
        and the live database is open again. Raises RestoreFailed, SwapUnfinished.
        """

    @abstractmethod
    def repair_swap(self, beside: str, previous: str) -> str:
        """Finish or undo a swap that was killed; say in one sentence what was found and done."""

    @abstractmethod
    def local_place(self) -> tuple[str, ...]:
        """Name the database so that its other aliases on this host name the same.

        Told without connecting, since a killed restore may have left it closed.
        """

    @abstractmethod
    def key(self) -> str:
        """Return `Identity.key`, without connecting to the live database, which may be closed."""

    def is_left_closed(self) -> bool:
        """Whether a swap that was killed, on any host, may have left the live database closed."""
        return False

    def repair_marked(self) -> str:
        """Repair what killed swaps of other hosts left; say what was found and done, "" if none."""
        return ""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Drop a database beside the live one; refuses the live one."""

    @abstractmethod
    def databases_beside(self) -> list[str]:
        """Names of the databases beside the live one that restores left or made, oldest first."""

    # What follows is about Django's own connection of the alias, the one that migrates.

    counts_rows: ClassVar[bool] = False  # whether rows changed by a transaction can be told

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

    # pylint: disable-next=useless-return
    def table_sizes(self, tables: Iterable[str]) -> Mapping[str, int] | None:
        """Bytes of each table that exists, indexes included; None where that cannot be told."""
        del tables
        return None

    def backends_named(self, name: str) -> list[Backend]:
        """Server processes of sessions with this application name."""
        del name
        return []

    def end_backends(self, pids: Iterable[int]) -> None:
        """End server processes; what they had open rolls back."""

    def schema_changes_in_transaction(self) -> AbstractContextManager[None]:
        """Let schema editors work inside a transaction of the caller's."""
        return nullcontext()

    def check_deferred_constraints(self) -> None:
        """Let deferred constraints fail now, in the open transaction."""

    @property
    @abstractmethod
    def transactions(self) -> "Transactions":
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
    def keep_rows(self, table: str) -> str | None:
        """Copy a table's rows to a kept table and return its name; None if it has no rows."""
