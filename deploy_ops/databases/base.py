"""What the other packages ask of a database: the contract of postgresql and sqlite."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

Json = dict[str, Any]
Counts = Mapping[str, int]
RowCounts = dict[int, int]  # rows changed, by the number of their table
_CAST = re.compile(r"::(?:character varying|[a-z_]+)(?:\(\d+\))?(?:\[\])?|[()\s]")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is.

    `system_identifier` names the server's cluster (SQLite: empty), `oid` the database in it.
    """

    engine: str
    name: str
    host: str
    port: str
    system_identifier: str
    oid: int
    server_version: int
    size_bytes: int

    @property
    def place(self) -> str:
        """Name and host as people read them."""
        return f"{self.name} on {self.host}" if self.host else self.name


class Answer(StrEnum):
    """Whether somebody wrote; UNKNOWN counts as WROTE."""

    NOBODY = "nobody"
    WROTE = "wrote"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Writes:
    """What others wrote since a mark: the answer, rows by table where known, and the evidence."""

    answer: Answer
    rows: Counts
    evidence: str


class Outcome(StrEnum):
    """What became of a transaction."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    IN_PROGRESS = "in progress"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction at its end: whether the session is still in the same one (None: it cannot be
    asked), and the rows it changed (None: not known)."""

    is_same: bool | None
    rows: RowCounts | None


@dataclass(frozen=True, slots=True)
class Schema:
    """The whole schema as the database itself writes it, line by line; equal or not."""

    lines: tuple[str, ...]

    def difference(self, before: "Schema") -> list[str]:
        """What came (+) and what went (-) since `before`; empty only if both are equal."""
        if self == before:
            return []
        now, then = Counter(self.lines), Counter(before.lines)
        changed = [f"+ {line}" for line in now - then] + [f"- {line}" for line in then - now]
        told = [line for line in changed if line.strip("+- ")]
        return told or ["the same lines in another order"]

    def without_casts(self) -> "Schema":
        """Without casts and parentheses, which a restore may write otherwise in expressions."""
        return Schema(tuple(_CAST.sub("", line) for line in self.lines))


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view: its file, and the type of each column by the column's number."""

    schema: str
    name: str
    file: int
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Invalid:
    """An index that is not valid, or a constraint that is not validated."""

    kind: str
    schema: str
    name: str
    table: str

    @property
    def quoted_name(self) -> str:
        """The bare name, quoted for SQL."""
        return '"' + self.name.replace('"', '""') + '"'

    def __str__(self) -> str:
        return '"' + self.schema.replace('"', '""') + '".' + self.quoted_name


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index at a moment."""

    oid: int
    table: str
    is_valid: bool
    is_being_built: bool


@dataclass(frozen=True, slots=True)
class Backend:
    """A server process that works for a session."""

    pid: int
    state: str
    seconds: int
    query: str

    def __str__(self) -> str:
        return f"server process {self.pid} ({self.state}, {self.seconds} s): {self.query}"


class Guard(Protocol):
    """One of the locks that make up the deploy lock."""

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or say who holds it."""

    def check(self) -> None:
        """Raise LockLost if the lock is gone."""

    def release(self) -> None:
        """Give the lock back; safe to call twice."""


class Database(ABC):
    """One database behind one alias. Instances hold no connection between calls."""

    vendor: ClassVar[str]

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def database_name(self) -> str:
        """Name of the live database, told without connecting to it."""
        return str(connections[self.alias].settings_dict["NAME"])

    def use_direct_connection(self) -> None:
        """Point Django's own connection past a pooler, for this process; not all have one."""

    def guard(self, purpose: str, shared: bool) -> Guard | None:  # pylint: disable=unused-argument
        """Make the part of the deploy lock that every host sees, where the server has one."""
        return None

    @abstractmethod
    def identify(self) -> Identity:
        """Say which database this is; raises DatabaseUnavailable."""

    @abstractmethod
    def mark(self) -> Json:
        """Take the present position of writes (JSON), to be compared by `writes_since`."""

    @abstractmethod
    def writes_since(self, mark: Json, *, own_rows: RowCounts | None) -> Writes:
        """Tell what others wrote since the mark; `own_rows` are ours, None if not known."""

    def anybody_wrote(self, mark: Json) -> Writes:
        """Tell whether anybody at all, this process included, changed a row since the mark."""
        del mark
        return Writes(Answer.UNKNOWN, {}, "this kind of database does not count writes")

    @abstractmethod
    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count every table of database `name`, and read its sequences."""

    @abstractmethod
    def name_beside(self, suffix: str) -> str:
        """Name a database beside the live one, within the limit on its length."""

    @abstractmethod
    def swap(self, beside: str, kept: str, *, before: Callable[[], None]) -> None:
        """Give `beside` the live name and the live database the name `kept`.

        `before` is called when no client can write any more; what it raises stops the exchange
        and the live database is open again. Raises RestoreFailed, SwapUnfinished.
        """

    @abstractmethod
    def repair_swap(self, beside: str, kept: str) -> str:
        """Finish or undo a swap that was killed; say in one sentence what was found and done."""

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
        raise NotImplementedError(name)

    def drop_index(self, name: str) -> None:
        """Drop an index without making others wait."""
        raise NotImplementedError(name)

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Whether the session finds a table of that name."""

    def lock_tables(self, tables: list[str]) -> None:
        """Keep everybody else out of the tables until the transaction ends."""

    @abstractmethod
    def keep_rows(self, table: str) -> str | None:
        """Copy a table's rows to a kept table and return its name; None if it has no rows."""
