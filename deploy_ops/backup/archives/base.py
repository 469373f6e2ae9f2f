"""What an archive of a server has to do: the contract of its engines.

An archive has base backups (the whole cluster as files) and the write-ahead log from there on, so
that any moment between can be had again. Nothing is restored over a server: a scratch instance is
(databases/postgresql/scratch.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_ops.progress import Progress

if TYPE_CHECKING:
    from deploy_ops.databases.postgresql.server import Server  # needs psycopg


@dataclass(frozen=True, slots=True)
class Base:  # pylint: disable=too-many-instance-attributes
    """A base backup. Moments from `finished_at` on, by the server's clock, can be had from it.

    `start_lsn` and `end_lsn` are bytes of the write-ahead log; `parent` is the base that an
    incremental one needs, None for a full one.
    """

    id: str
    started_at: datetime
    finished_at: datetime
    timeline: int
    start_lsn: int
    end_lsn: int
    system_identifier: str
    server_version: int
    segment_bytes: int
    size_bytes: int
    parent: str | None = None

    @property
    def major(self) -> int:
        """Major version of the server."""
        return self.server_version // 10000


class Archive(ABC):
    """Base backups and write-ahead log of one server."""

    @abstractmethod
    def check(self) -> None:
        """Raise ConfigurationError where the archive cannot be used as it is configured."""

    @abstractmethod
    def server(self, alias: str) -> "Server":
        """Return how to log in for replication to the server of an alias."""

    @abstractmethod
    def bases(self) -> Sequence[Base]:
        """All complete base backups, oldest first."""

    @abstractmethod
    def has(self, segment: str) -> bool:
        """Whether a segment of the log is there, complete."""

    @abstractmethod
    def missing(self, base: Base) -> Sequence[str]:
        """Names of the segments that are not there between a base and the newest segment."""

    @abstractmethod
    def newest_write(self) -> datetime | None:
        """When something was last archived: no later moment can be had. None if nothing was."""

    @abstractmethod
    def fetch(self, base: Base, directory: Path, progress: Progress) -> None:
        """Prove a base and put it into an empty directory, as a server's data directory.

        Raises BackupCorrupt, ProgramError, OSError.
        """

    @abstractmethod
    def scratch_directory(self) -> Path:
        """Where scratch instances may be made, in a directory of who is to run them."""

    @abstractmethod
    def in_use(self) -> AbstractContextManager[None]:
        """Keep what is there from being removed during the block; raises ArchiveFailed."""

    @abstractmethod
    def restore_command(self) -> str:
        """What the recovering server runs, in a shell, to get a file `%f` of the log as `%p`."""
