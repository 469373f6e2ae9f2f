"""What the backup room asks of a database engine: the contract of postgresql and sqlite.

A restore never touches the live database until the exchange: `restore_beside` builds a second
database, `count_rows` and the caller's comparison prove it, `swap` exchanges the two, and the
old one stays under the name that `swap` was given.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import connections

from deploy_ops.errors import RestoreRefused
from deploy_ops.progress import Progress

if TYPE_CHECKING:  # a manifest names the identity that is defined here
    from deploy_ops.backup.manifest import Manifest

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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `dump` saw, all in the transaction snapshot of the dump itself.

    `mark` is the position before the snapshot, for `writes_since`; `extra` holds what only this
    engine knows (extensions, roles, database-level settings).
    """

    counts: Counts
    sequences: Counts
    migrations: list[tuple[str, str]]
    mark: Json
    versions: Mapping[str, str]
    extra: Json = field(default_factory=dict)


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


class Engine(ABC):
    """One database behind one alias. Instances hold no connection between calls."""

    vendor: ClassVar[str]

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def database_name(self) -> str:
        """Name of the live database, told without connecting to it."""
        return str(connections[self.alias].settings_dict["NAME"])

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
    def check_backup(self) -> list[str]:
        """Look for what would make `dump` fail; a sentence each, with its remedy."""

    @abstractmethod
    def dump(self, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
        """Write the database into the empty directory; raises BackupFailed, ProgramError."""

    @abstractmethod
    def read_through(self, directory: Path) -> None:
        """Read a dump to its last byte as a restore would (level L2); raises BackupCorrupt."""

    @abstractmethod
    def check_restore(self, manifest: "Manifest", *, into: str | None = None) -> list[str]:
        """Look for what would make the restore fail; a sentence each, with its remedy."""

    @abstractmethod
    def restore_beside(
        self, directory: Path, manifest: "Manifest", *, name: str, jobs: int, progress: Progress
    ) -> None:
        """Create database `name` from the dump, analysed, with the live one's settings and ACL.

        Raises RestoreFailed; what was created is dropped again.
        """

    @abstractmethod
    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count every table of database `name`, and read its sequences."""

    @abstractmethod
    def name_beside(self, suffix: str) -> str:
        """Name a database beside the live one, within the engine's length limit."""

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

    def check_in_place(self, manifest: "Manifest") -> list[str]:
        """Look for what would make `restore_in_place` fail; engines without it say so."""
        return [
            f"Databases of {self.vendor} are not restored in place. Leave out --in-place: the "
            f"backup of {manifest.database.name} is restored beside, then exchanged."
        ]

    def restore_in_place(
        self, directory: Path, manifest: "Manifest", *, progress: Progress
    ) -> None:
        """Replace the contents of the live database in one transaction; raises RestoreFailed."""
        raise RestoreRefused("\n".join(Engine.check_in_place(self, manifest)))
