"""Backfills, with how far they are and how long they will take at the speed so far."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections

from deploy_ops.models import BackfillProgress
from deploy_ops.phases.backfill.control import State, state_of
from deploy_ops.phases.backfill.entry import is_there
from deploy_ops.redact import redact
from deploy_ops.release.page.tone import Tone
from deploy_ops.times import aware

SHOWN_AFTER = timedelta(days=1)
# One that has written nothing for so long, and does not say what it waits for, has no worker.
SILENT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Filling:
    """One backfill; `percent`, `speed` (rows a second) and `left` are None where not known."""

    name: str
    description: str
    state: State
    percent: int | None
    read: int
    total: int
    written: int
    speed: float | None
    left: timedelta | None
    updated_at: datetime | None
    waits_for: str
    error: str
    is_silent: bool

    @property
    def is_working(self) -> bool:
        """Whether a worker writes."""
        return self.state is State.UNFINISHED and not self.is_silent


@dataclass(frozen=True, slots=True)
class Backfills:
    """Unfinished ones, and those that were done of late."""

    all: tuple[Filling, ...]

    @property
    def open(self) -> int:
        """How many are to be run, or run on."""
        return sum(each.state not in (State.DONE, State.CANCELLED) for each in self.all)

    @property
    def tone(self) -> Tone:
        """An error, or one that nobody goes on with, wants a look."""
        if any(each.error or each.is_silent for each in self.all):
            return Tone.WARN
        if any(each.is_working for each in self.all):
            return Tone.BUSY
        return Tone.OK if self.all else Tone.QUIET


def read() -> Backfills:
    """Ask the database, which has the progress of each."""
    connection = connections[DEFAULT_DB_ALIAS]
    is_known = connection.vendor == "postgresql" and is_there(connection)
    rows = BackfillProgress.objects.using(DEFAULT_DB_ALIAS) if is_known else ()
    return backfills(rows, datetime.now(UTC))


def backfills(rows: Iterable[BackfillProgress], now: datetime) -> Backfills:
    """Leave out what ended long ago."""
    ends = ((row, row.done_at or row.cancelled_at) for row in rows)
    return Backfills(
        tuple(_filling(row, now) for row, end in ends if not end or now - aware(end) < SHOWN_AFTER)
    )


def _filling(row: BackfillProgress, now: datetime) -> Filling:
    state = state_of(row)
    total = max(row.rows_total, row.rows_read)
    percent = 100 if state is State.DONE else _percent(row.rows_read, total)
    speed = _speed(row)
    left = (total - row.rows_read) / speed if speed and state is State.UNFINISHED else None
    last = row.updated_at or row.started_at or row.created_at
    return Filling(
        name=row.name,
        description=row.description,
        state=state,
        percent=percent,
        read=row.rows_read,
        total=total,
        written=row.rows_written,
        speed=speed,
        left=None if left is None else timedelta(seconds=left),
        updated_at=row.updated_at and aware(row.updated_at),
        waits_for=row.waits_for if state is State.UNFINISHED else "",
        error="" if state is State.DONE else redact(row.last_error),
        is_silent=state is State.UNFINISHED and not row.waits_for and now - aware(last) > SILENT,
    )


def _percent(rows: int, total: int) -> int | None:
    """Whole percents, rounded down: 100 is said only of what is done."""
    return min(99, 100 * rows // total) if total else None


def _speed(row: BackfillProgress) -> float | None:
    if row.started_at is None or row.updated_at is None:
        return None
    seconds = (row.updated_at - row.started_at).total_seconds()
    return row.rows_read / seconds if seconds >= 1 and row.rows_read else None
