"""One restore: what goes where; and the checks that come before anything is touched."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deploy_ops.backup.entry import Backup, Level
from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods import Method, method_for
from deploy_ops.backup.trust import require_usable
from deploy_ops.backup.verification import verify_backup
from deploy_ops.databases import Database, database_for
from deploy_ops.errors import RestoreRefused
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress
from deploy_ops.restore.values import Contents


class Job(ABC):
    """What is put back, over which database, and who listens."""

    alias: str
    lock: DeployLock
    progress: Progress

    @property
    @abstractmethod
    def contents(self) -> Contents:
        """What the database is put back to."""

    @cached_property
    def database(self) -> Database:
        """The database of the alias: one value, since during a swap it holds a connection."""
        return database_for(self.alias)

    @property
    def names(self) -> dict[str, str]:
        """What is put back where, for the audit."""
        return {"backup": self.contents.id, "database": self.database.identify().name}


def contents_of(backup: Backup) -> Contents:
    """What a restore of a backup puts back."""
    manifest = backup.manifest
    return Contents(
        id=backup.id,
        title=f"backup {backup.id}",
        at=backup.created_at,
        kind="backup",
        counts=manifest.counts,
        sequences=manifest.sequences,
        write_position=manifest.write_position,
        run=manifest.run,
    )


@dataclass(frozen=True)
class PointJob(Job):
    """A safety point that is put back: a database beside, which is there."""

    point: Contents
    alias: str
    lock: DeployLock
    progress: Progress

    @property
    def contents(self) -> Contents:
        """The safety point."""
        return self.point


@dataclass(frozen=True)
class RestoreJob(Job):
    """A backup that is restored."""

    backup: Backup
    alias: str
    lock: DeployLock
    jobs: int
    progress: Progress

    @cached_property
    def contents(self) -> Contents:
        """What the backup has."""
        return contents_of(self.backup)

    @property
    def method(self) -> Method:
        """How a backup of it is put back."""
        return method_for(self.alias)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the backup."""
        return self.backup.manifest

    def verify(self) -> None:
        """Compare every byte that is here; what is not is compared as it is fetched."""
        require_usable(self.backup, self.alias)
        if self.backup.is_here:
            verify_backup(self.backup, Level.HASH, alias=self.alias, progress=self.progress)

    def restore_beside(self, plain: Path, name: str) -> None:
        """Create database `name` from the opened backup; raises RestoreFailed."""
        self.method.restore_beside(
            plain / "database", self.manifest, name=name, jobs=self.jobs, progress=self.progress
        )

    def refuse(self, problems: list[str]) -> None:
        """Raise RestoreRefused with all that stands in the way, if anything does."""
        if problems:
            raise RestoreRefused(
                f"Backup {self.backup.id} cannot be restored:\n"
                + "\n".join(f"- {problem}" for problem in problems)
                + "\nNothing was changed."
            )
