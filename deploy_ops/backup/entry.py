"""What the catalog holds: a backup, known by its manifest, and what became of it since."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from deploy_ops.backup.authenticity import Verdict
from deploy_ops.backup.manifest import NAME, BackupId, Level, Manifest
from deploy_ops.databases.base import Identity, Json, database_key
from deploy_ops.files import add_line, read_lines

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


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup with a valid manifest, here, in STORAGES["backups"], or both.

    `verdict` says whether the keys of this host prove that it is ours; without it the manifest is
    only what somebody claims. `remote_names` are the files at the top of its folder in the
    storage, empty without a copy. What lies beside the manifest (`pinned`, `verified.jsonl`) is
    proven by nothing: it can take a backup out of use or keep it, never bring it into use.
    """

    id: BackupId
    directory: Path
    manifest: Manifest
    verdict: Verdict
    remote_names: frozenset[str] = frozenset()

    @property
    def created_at(self) -> datetime:
        """When it was begun: no row written after that can be relied on to be in it."""
        return self.manifest.started_at

    @property
    def sequence(self) -> int:
        """Number that grows with each backup, whatever the clock does."""
        return self.manifest.sequence

    @property
    def engine(self) -> str:
        """Vendor of the database: `postgresql` or `sqlite`."""
        return self.manifest.database.engine

    @property
    def database(self) -> str:
        """Name of the database that was saved."""
        return self.manifest.database.name

    @property
    def place(self) -> str:
        """Name and host of the database as people read them."""
        return self.manifest.database.place

    @property
    def label(self) -> str:
        """What the operator called it."""
        return self.manifest.label

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return self.manifest.size_bytes

    @property
    def is_encrypted(self) -> bool:
        """Whether a key is needed to read it."""
        return self.manifest.encryption is not None

    @property
    def is_here(self) -> bool:
        """Whether its files are below DEPLOY_OPS_BACKUP_DIR."""
        return (self.directory / NAME).exists()

    @property
    def is_copied(self) -> bool:
        """Whether a complete copy is in STORAGES["backups"]."""
        return NAME in self.remote_names

    @property
    def is_pinned(self) -> bool:
        """Whether `prune` must leave it."""
        return (self.directory / PINNED).exists() or PINNED in self.remote_names

    @property
    def verifications(self) -> list[Json]:
        """When it passed or failed which level, oldest first; the first is that of its making."""
        try:
            later = read_lines(self.directory / VERIFIED).entries
        except FileNotFoundError:
            later = []
        first = self.manifest.verified
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
        saved = self.manifest.database
        return database_key(saved.engine, saved.system_identifier, saved.name)

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
