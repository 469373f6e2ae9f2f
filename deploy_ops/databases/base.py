"""What the other packages ask of a database: the contract of postgresql and sqlite."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from django.db import connections

Json = dict[str, Any]
Counts = Mapping[str, int]


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
    def writes_since(self, mark: Json, *, own_rows: Counts | None = None) -> Writes:
        """Tell what was written since the mark, less `own_rows` (rows by table we wrote)."""

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
