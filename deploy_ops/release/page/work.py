"""What is at work on the database right now: who holds the deploy lock, runs, restores."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.lock import lock_holders
from deploy_ops.lock_file import Holder
from deploy_ops.migrate.journal import Json, Record, read_runs
from deploy_ops.release.page.tone import Tone
from deploy_ops.release.runs import committed_steps, is_held, names_of
from deploy_ops.restore.interrupted import SWAPPING, Restoring, unfinished_restores
from deploy_ops.times import moment


class Stage(StrEnum):
    """How far a run is, by the last step in its journal that says so."""

    BEGINNING = "beginning"
    BACKUP = "backup"
    REHEARSAL = "rehearsal"
    APPLYING = "applying"
    FINISHING = "finishing"
    FAILED = "failed"
    RESTORING = "restoring"
    SWAPPING = "swapping"


# Purposes of the deploy lock under which databases are restored.
RESTORING = ("restore", "safe_migrate")
STAGES = {
    "started": Stage.BEGINNING,
    "backup_started": Stage.BACKUP,
    "point_started": Stage.BACKUP,
    "point_made": Stage.APPLYING,
    "backed_up": Stage.APPLYING,
    "rehearsed": Stage.APPLYING,
    "migration_started": Stage.APPLYING,
    "migration_applied": Stage.APPLYING,
    "migration_failed": Stage.FAILED,
    "restore_started": Stage.RESTORING,
    "restored_beside": Stage.RESTORING,
    "swap_started": Stage.SWAPPING,
    "swapped": Stage.FINISHING,
    "recovered": Stage.FINISHING,
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has not ended; `is_alive` where its process holds the lock."""

    id: str
    database: str
    stage: Stage
    done: int
    total: int
    current: str
    backup: str
    began: datetime | None
    is_alive: bool


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore that has not ended; one whose process is gone is finished by the next command."""

    backup: str
    beside: str
    is_swapping: bool
    is_alive: bool


@dataclass(frozen=True, slots=True)
class Work:
    """All that is going on, and what was cut off."""

    holders: tuple[Holder, ...]
    runs: tuple[Run, ...]
    restores: tuple[Restore, ...]

    @property
    def tone(self) -> Tone:
        """What nobody goes on with needs the next command."""
        alive = [run.is_alive for run in self.runs] + [each.is_alive for each in self.restores]
        if not all(alive):
            return Tone.BAD
        return Tone.BUSY if self.holders else Tone.QUIET


def read() -> Work:
    """Look at the lock before and after: who begins or ends in between was not cut off."""
    before = lock_holders(DEFAULT_DB_ALIAS)
    runs = [record for record in read_runs() if not record.is_resolved]
    restores = unfinished_restores()
    after = lock_holders(DEFAULT_DB_ALIAS) if runs or restores else []
    return work(list(dict.fromkeys([*before, *after])), runs, restores)


def work(holders: Sequence[Holder], runs: Sequence[Record], restores: Sequence[Restoring]) -> Work:
    """Tell what goes on from what was cut off."""
    can_restore = any(each.purpose in RESTORING for each in holders)
    return Work(
        tuple(holders),
        tuple(_run(record, holders) for record in runs),
        tuple(
            Restore(each.backup, each.beside, each.stage == SWAPPING, can_restore)
            for each in restores
        ),
    )


def _run(record: Record, holders: Sequence[Holder]) -> Run:
    start, steps = record.start, record.steps
    plan = start.get("plan")
    done = committed_steps(record)
    saved = record.last("backed_up")
    return Run(
        id=record.run,
        database=str(start.get("database", "")),
        stage=_stage(steps),
        done=len(done),
        total=len(plan) if isinstance(plan, list) else 0,
        current=_current(record, done),
        backup=str(saved.get("backup", "")) if saved else "",
        began=moment(start.get("at")),
        is_alive=is_held(record, holders),
    )


def _stage(steps: Sequence[Json]) -> Stage:
    known = [STAGES[step["step"]] for step in steps if step["step"] in STAGES]
    return known[-1] if known else Stage.BEGINNING


def _current(record: Record, done: set[str]) -> str:
    """The migrations that were begun last and have not been committed."""
    begun = record.last("migration_started")
    keys = names_of(begun) if begun else []
    return "" if set(keys) <= done else ", ".join(keys)
