"""Backups: the newest of each database, how far it is proven, and how size and duration went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.backup.catalog import list_entries
from deploy_ops.backup.entry import CLOCK_TOLERANCE, Backup, Entry, Level, State
from deploy_ops.backup.storage import remote_storage
from deploy_ops.conf import conf
from deploy_ops.redact import redact
from deploy_ops.release.page.chart import Chart, chart
from deploy_ops.release.page.tone import Tone
from deploy_ops.times import moment

IN_THE_CHART = 20
MOST_NAMED = 10
OLD = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Saved:
    """A usable backup; `verified_at` is when it last passed `level`."""

    id: str
    place: str
    at: datetime
    size_bytes: int
    seconds: float
    level: Level
    verified_at: datetime | None
    is_encrypted: bool
    is_copied: bool
    is_old: bool

    @property
    def is_verified(self) -> bool:
        """Whether more than its manifest and its hashes were looked at."""
        return self.level.rank >= Level.READ.rank


@dataclass(frozen=True, slots=True)
class Backups:
    """`newest` has one a database; the charts are those of the application's own.

    `unusable` are those that cannot be used, and why.
    """

    newest: tuple[Saved, ...]
    history: tuple[Saved, ...]
    sizes: Chart
    durations: Chart
    unusable: Mapping[str, str]
    number: int

    @property
    def named(self) -> Sequence[tuple[str, str]]:
        """As many of the unusable ones as the page names, the newest first."""
        return list(self.unusable.items())[::-1][:MOST_NAMED]

    @property
    def tone(self) -> Tone:
        """Without a backup nothing can be restored."""
        if not self.newest:
            return Tone.BAD
        is_sound = all(each.is_verified and not each.is_old for each in self.newest)
        return Tone.WARN if self.unusable or not is_sound else Tone.OK


def read() -> Backups:
    """Read the catalog. A directory that is not there is not made: it would be this user's."""
    has_any = conf.backup_dir.exists() or remote_storage() is not None
    return backups(list_entries() if has_any else [], datetime.now(UTC))


def backups(entries: Sequence[Entry], now: datetime) -> Backups:
    """Take the newest of each database, and the last ones for the charts."""
    usable = [each.backup for each in entries if each.backup and each.state is State.COMPLETE]
    newest = {backup.place: backup for backup in usable}
    own = [each for each in usable if each.head.database.alias == DEFAULT_DB_ALIAS]
    place = own[-1].place if own else None
    history = [_saved(each, now) for each in own if each.place == place][-IN_THE_CHART:]
    return Backups(
        newest=tuple(_saved(backup, now) for backup in newest.values()),
        history=tuple(history),
        sizes=chart([each.size_bytes for each in history], IN_THE_CHART),
        durations=chart([each.seconds for each in history], IN_THE_CHART),
        unusable={e.id: redact(e.reason) for e in entries if e.state is not State.COMPLETE},
        number=len(usable),
    )


def _saved(backup: Backup, now: datetime) -> Saved:
    level, head = backup.level, backup.head
    passed = [e["at"] for e in backup.verifications if e["level"] == level and "failed" not in e]
    age = now - backup.created_at
    return Saved(
        id=backup.id,
        place=backup.place,
        at=backup.created_at,
        size_bytes=backup.size_bytes,
        seconds=max(0.0, (head.finished_at - head.started_at).total_seconds()),
        level=level,
        verified_at=moment(passed[-1]) if passed else None,
        is_encrypted=backup.is_encrypted,
        is_copied=backup.is_copied,
        is_old=not -CLOCK_TOLERANCE <= age <= OLD,
    )
