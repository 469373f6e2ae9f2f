"""What the catalog holds: a backup, known by its manifest, and what became of it since."""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from deploy_ops.backup.authenticity import Verdict
from deploy_ops.backup.head import Head
from deploy_ops.backup.manifest import NAME, BackupId, Level, Manifest, load_manifest
from deploy_ops.backup.storage import remote_storage
from deploy_ops.databases.base import Identity, Json, database_key
from deploy_ops.errors import BackupCorrupt, BackupError
from deploy_ops.files import add_line, read_lines, read_private

logger = logging.getLogger(__name__)

__all__ = ["PINNED", "VERIFIED", "Backup", "Entry", "Level", "State"]

PINNED = "pinned"
VERIFIED = "verified.jsonl"
CLOCK_TOLERANCE = timedelta(minutes=5)


class State(StrEnum):
    """What a directory below DEPLOY_OPS_BACKUP_DIR is worth."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    CORRUPT = "corrupt"
    OTHER_VERSION = "other version"
    NOT_OURS = "not ours"
    KEY_MISSING = "key missing"


@dataclass(frozen=True)
class Backup:
    """A backup with a valid manifest, here, in STORAGES["backups"], or both.

    `verdict` says whether the keys of this host prove that it is ours; without it the manifest is
    only what somebody claims. `known` is the manifest where one backup was asked for; of a list
    there are the heads, and `manifest` reads the rest. `remote_names` are the files at the top
    of its folder in the
    storage, empty without a copy. What lies beside the manifest (`pinned`, `verified.jsonl`) is
    proven by nothing: it can take a backup out of use or keep it, never bring it into use.
    """

    id: BackupId
    directory: Path
    head: Head
    verdict: Verdict
    remote_names: frozenset[str] = frozenset()
    known: Manifest | None = field(default=None, repr=False, compare=False)

    @cached_property
    def manifest(self) -> Manifest:
        """All that its manifest says.

        Raises BackupCorrupt if that is not the manifest of its head any more, BackupError if it
        cannot be read.
        """
        if self.known:
            return self.known
        manifest = load_manifest(self._read_manifest())
        if manifest.checksum != self.head.checksum:
            raise BackupCorrupt(
                f"The manifest of backup {self.id} was changed after it was listed, so nothing of "
                "it is used. Nothing was changed. See what it is now:\n"
                "    python manage.py backups list"
            )
        return manifest

    @property
    def created_at(self) -> datetime:
        """When it was begun: no row written after that can be relied on to be in it."""
        return self.head.started_at

    @property
    def sequence(self) -> int:
        """Number that grows with each backup, whatever the clock does."""
        return self.head.sequence

    @property
    def engine(self) -> str:
        """Vendor of the database: `postgresql` or `sqlite`."""
        return self.head.database.engine

    @property
    def database(self) -> str:
        """Name of the database that was saved."""
        return self.head.database.name

    @property
    def place(self) -> str:
        """Name and host of the database as people read them."""
        return self.head.database.place

    @property
    def label(self) -> str:
        """What the operator called it."""
        return self.head.label

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return self.head.size_bytes

    @property
    def is_encrypted(self) -> bool:
        """Whether a key is needed to read it."""
        return self.head.encryption is not None

    @property
    def is_here(self) -> bool:
        """Whether its files are below DEPLOY_OPS_BACKUP_DIR."""
        return os.path.exists(self._beside(NAME))

    @property
    def is_copied(self) -> bool:
        """Whether a complete copy is in STORAGES["backups"]."""
        return NAME in self.remote_names

    @property
    def is_pinned(self) -> bool:
        """Whether `prune` must leave it."""
        return os.path.exists(self._beside(PINNED)) or PINNED in self.remote_names

    @cached_property
    def verifications(self) -> list[Json]:
        """When it passed or failed which level, oldest first; the first is that of its making."""
        later: list[Json] = []
        if os.path.lexists(path := self._beside(VERIFIED)):  # most have none: a Path costs more
            with suppress(FileNotFoundError):
                later = read_lines(Path(path)).entries
        first = self.head.verified
        made = {"level": first.level, "at": first.at.isoformat(timespec="seconds")}
        return [made, *filter(_is_verification, later)]

    @property
    def level(self) -> Level:
        """The highest level it ever passed."""
        passed = [Level(entry["level"]) for entry in self.verifications if "failed" not in entry]
        return max(passed, key=lambda level: level.rank)

    @property
    def failure(self) -> str | None:
        """Why a verification failed that none of its level or above has passed since."""
        failure, failed_rank = None, 0
        for entry in self.verifications:
            rank = Level(entry["level"]).rank
            if "failed" in entry:
                failed_rank = max(rank, failed_rank) if failure else rank
                failure = str(entry["failed"])
            elif rank >= failed_rank:
                failure = None
        return failure

    @property
    def source(self) -> str:
        """Key of the database that it was taken of (a restore changes the oid, not the name)."""
        saved = self.head.database
        return database_key(saved.engine, saved.system_identifier, saved.name)

    def _beside(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _read_manifest(self) -> bytes:
        try:
            return read_private(self.directory / NAME)
        except OSError as error:
            if self.is_copied and (remote := remote_storage()):
                return remote.read_manifest(self.id)
            raise BackupError(
                f"The manifest of backup {self.id} was listed and cannot be read any more: "
                f"{error.strerror}. Nothing was changed. See those there are:\n"
                "    python manage.py backups list"
            ) from error

    def belongs_to(self, identity: Identity) -> bool:
        """Whether it was taken of this database."""
        return identity.key == self.source

    def record(self, level: Level, failed: str | None = None) -> None:
        """Note a verification beside the manifest, durably; only where its files are here."""
        if not self.is_here:
            return
        entry = {"level": level, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            add_line(self.directory / VERIFIED, entry | ({"failed": failed} if failed else {}))
            self.__dict__.pop("verifications", None)  # to be read again
        except OSError as error:
            outcome = "failed" if failed else "passed"
            logger.warning(
                "Backup %s %s level %s. That cannot be noted in %s (%s), so it will not be known.",
                *(self.id, outcome, level, self.directory / VERIFIED, error.strerror),
            )


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalog; `backup` is None where there is no manifest that can be read."""

    id: str
    state: State
    reason: str = ""
    backup: Backup | None = None

    def is_future(self, now: datetime) -> bool:
        """Whether the clock that dated it was ahead of this one."""
        return self.backup is not None and self.backup.created_at > now + CLOCK_TOLERANCE


def _is_verification(entry: Json) -> bool:
    """Whether a line has what is asked of it; lines of a level that is not known yet are passed."""
    try:
        datetime.fromisoformat(entry["at"])
        return entry["level"] in set(Level) and isinstance(entry.get("failed", ""), str)
    except (KeyError, TypeError, ValueError):
        return False
