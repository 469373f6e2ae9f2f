"""What a way of saving a database has to do: the contract of pg_dump and sqlite.

A restore never touches the live database until the swap: `restore_beside` builds a second
database, the rows that the database counts in it and the caller's comparison prove it, and
`Database.swap` swaps the two.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from django.core.checks import CheckMessage

from deploy_ops.backup.manifest import Manifest
from deploy_ops.databases.base import Counts, Json
from deploy_ops.progress import Progress


class Scope(StrEnum):
    """What going back rewinds."""

    DATABASE = "database"
    CLUSTER = "cluster"


class Cost(StrEnum):
    """What the time to make one depends on."""

    SIZE = "size"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a way of saving can do; who wants to know asks this, and not which way it is.

    `is_backup`: it survives the loss of the database's disk. `ends_sessions`: nobody may be
    connected while it is made.
    """

    scope: Scope
    cost: Cost
    is_backup: bool
    supports_beside: bool
    supports_point_in_time: bool = False
    ends_sessions: bool = False


DUMP = Abilities(Scope.DATABASE, Cost.SIZE, is_backup=True, supports_beside=True)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `dump` saw, all in the transaction snapshot of the dump itself.

    `write_position` is the one before the snapshot, for `writes_since`; `extra` holds what only
    this method knows (extensions, roles, database-level settings).
    """

    counts: Counts
    sequences: Counts
    migrations: list[tuple[str, str]]
    write_position: Json
    versions: Mapping[str, str]
    extra: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What must still be so once nobody can write: the rows of each table, and the position."""

    counts: Counts
    write_position: Json


class Method(ABC):
    """One way of saving the database behind one alias as files, and of putting it back."""

    abilities: ClassVar[Abilities] = DUMP

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @abstractmethod
    def check_backup(self) -> list[str]:
        """Look for what would make `dump` fail; a sentence each, with its remedy."""

    def unrestorable(self) -> list[CheckMessage]:
        """Look for what the role that saves could not restore; raises DatabaseUnavailable."""
        return []

    @abstractmethod
    def dump(self, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
        """Write the database into the empty directory; raises BackupFailed, ProgramError."""

    @abstractmethod
    def read_through(self, directory: Path) -> None:
        """Read a dump to its last byte as a restore would (level L2); raises BackupCorrupt."""

    @abstractmethod
    def check_restore(self, manifest: Manifest, *, into: str | None = None) -> list[str]:
        """Look for what would make the restore fail; a sentence each, with its remedy."""

    @abstractmethod
    def restore_beside(
        self, directory: Path, manifest: Manifest, *, name: str, jobs: int, progress: Progress
    ) -> None:
        """Create database `name` from the dump, analysed, with the live one's settings and ACL.

        Raises RestoreFailed; what was created is dropped again.
        """

    @abstractmethod
    def check_in_place(self, manifest: Manifest) -> list[str]:
        """Look for what would make `restore_in_place` fail; a method without it says so."""

    @abstractmethod
    def restore_in_place(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        unless_changed: Unchanged | None = None,
        progress: Progress,
    ) -> None:
        """Replace the contents of the live database in one transaction.

        With `unless_changed` the live rows are compared first, once nobody can write. Raises
        RestoreFailed; RestoreRefused from a method without it.
        """
