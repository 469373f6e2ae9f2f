"""What the other packages ask of a database: the contract of postgresql and sqlite."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import ClassVar, Protocol

from django.db import connections

from deploy_ops.databases.migrating import MigratingConnection
from deploy_ops.databases.rows import RowsBeside
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
from deploy_ops.lock_file import Holder

__all__ = [
    "Database",
    "Guard",
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


class Database(MigratingConnection, RowsBeside):  # pylint: disable=too-many-public-methods
    """One database behind one alias. Instances hold no connection between calls."""

    has_clones: ClassVar[bool] = False  # whether it can be copied beside, file by file

    @property
    def pauses_clients(self) -> bool:
        """Whether `paused` makes all clients wait, wherever they are."""
        return False

    @property
    def database_name(self) -> str:
        """Name of the live database, told without connecting to it."""
        return str(connections[self.alias].settings_dict["NAME"])

    @contextmanager
    def connected_directly(self) -> Iterator[None]:
        """Point Django's connection past a pooler for the block, where there is one."""
        yield

    def closed_to_others(self, check_lock: Callable[[], None]) -> AbstractContextManager[None]:
        """End all sessions and let only this process in for the block; raises NotExclusive.

        `check_lock` is asked before others are kept out, and raises if the deploy lock was lost.

        Open again in the end, or by `repair_marked` after a kill; SwapUnfinished if it cannot be.
        """
        del check_lock
        raise NotExclusive(
            f"--exclusive ends the sessions of a database server, and {self.database_name} is an "
            "SQLite file, which has none. Nothing was changed. Stop what uses it, and leave "
            "--exclusive out."
        )

    def guard(self, purpose: str, shared: bool) -> Guard | None:  # pylint: disable=unused-argument
        """Make the part of the deploy lock that every host sees, where the server has one."""
        return None

    def deploy_lock_holders(self) -> list[Holder] | None:
        """Who holds that part of the deploy lock; None where the server has none."""
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

    def property_differences(self, recorded: Json) -> list[str]:
        """Compare what is set for the live database itself with what was recorded; names."""
        del recorded
        return []

    @abstractmethod
    def name_beside(self, suffix: str) -> str:
        """Name a database beside the live one, within the limit on its length."""

    def wait_for_swap(self) -> None:
        """Wait, with the live database open, for what a swap cannot end; raises RestoreFailed."""

    @abstractmethod
    def swap(self, beside: str, previous: str, *, before: Callable[[], None]) -> None:
        """Give `beside` the live name and the live database the name `previous`.

        `before` is called when no client can write any more; what it raises stops the swap
        and the live database is open again. Raises RestoreFailed, SwapUnfinished.
        """

    def paused(self, within: timedelta, *, cuts_off: bool) -> AbstractContextManager[object]:
        """Let clients of a pooler wait for the block, once their transactions have ended.

        Those that do not end `within` that are left to be cut off, or RestoreFailed is raised.
        `repair_swap` lets clients go on after a kill.
        """
        del within, cuts_off
        return nullcontext()

    def resume_clients(self) -> str:
        """Let clients go on that a killed command left paused; say so, "" if there were none."""
        return ""

    def clients_elsewhere(self) -> list[str]:
        """Who uses the database from other hosts, as far as that is known; a line each."""
        return []

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
