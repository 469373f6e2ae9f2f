"""The recovery ladder: after a failure, the cheapest rung that provably loses nothing.

Each rung is one function that returns a Recovery, or None and the reason why not. Facts decide:
the schema fingerprint before and after, the rows of django_migrations, and who else wrote.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from django.db.migrations.executor import MigrationExecutor

from deploy_ops.backup.entry import Backup
from deploy_ops.backup.engines import engine_for
from deploy_ops.backup.engines.base import Answer, Engine, Writes
from deploy_ops.backup.restore import restore_backup
from deploy_ops.errors import DeployOpsError, RestoreFailed
from deploy_ops.migrate.apply import History, Run, apply_plan
from deploy_ops.migrate.fingerprint import Fingerprint, take_fingerprint
from deploy_ops.migrate.leftovers import drop_invalid_indexes
from deploy_ops.migrate.plan import Plan, Reversal, Step

COUNTERS_TRIES = 5
COUNTERS_PAUSE_SECONDS = 0.2


class OnFailure(StrEnum):
    """How far up the ladder the operator lets safe_migrate go."""

    AUTO = "auto"
    REVERSE = "reverse"
    RESTORE = "restore"
    STOP = "stop"


class Rung(StrEnum):
    """Where the ladder ended."""

    NONE = "none"
    ROLLED_BACK = "rolled_back"
    REVERSED = "reversed"
    RESTORED = "restored"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a failed run ended; `facts` goes into the JSON, `message` to people."""

    rung: Rung
    message: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Case:
    """A failed run, with what the rungs need, and why the rungs so far could not be used."""

    run: Run
    plan: Plan
    backup: Backup | None
    before: Fingerprint
    accept_data_loss: bool
    reasons: list[str] = field(default_factory=list)

    def difference(self) -> list[str]:
        """How the schema differs from the one before the run."""
        return take_fingerprint(self.run.connection).difference(self.before)

    def recorded(self) -> list[Step]:
        """The steps that this run recorded, by the difference of django_migrations."""
        now = take_fingerprint(self.run.connection).lines
        return [
            step
            for step in self.plan.steps
            if (f"migration {step}" in now) != (f"migration {step}" in self.before.lines)
        ]


def recover(case: Case, on_failure: OnFailure) -> Recovery:
    """Climb the ladder; the last rung always holds."""
    for rung in LADDERS[on_failure]:
        recovery = rung(case)
        if recovery is not None:
            break
    else:
        recovery = manual(case)
    case.run.journal.record("recovered", rung=recovery.rung, **recovery.facts)
    return recovery


def rolled_back(case: Case) -> Recovery | None:
    """Everything was in transactions that rolled back: the schema is the one before."""
    if drop_invalid_indexes(case.run, case.difference()):
        case.run.is_half_applied = False
    if case.difference():
        return None
    return Recovery(
        Rung.ROLLED_BACK,
        "Everything this run did has rolled back. The schema and the data are as they were.",
    )


def reversed_(case: Case) -> Recovery | None:
    """Undo exactly the migrations this run recorded, newest first."""
    steps = case.recorded()
    if why_not := next(_why_not_reverse(case, steps), None):
        case.reasons.append(f"Not reversed: {why_not}")
        return None
    backwards = Plan(tuple(replace(step, backwards=True) for step in reversed(steps)))
    try:
        history = History(MigrationExecutor(case.run.connection))
        apply_plan(case.run, history, backwards, in_one_transaction=False)
    except DeployOpsError as error:
        case.reasons.append(f"Reversing stopped: {error}")
        return None
    if difference := case.difference():
        case.reasons.append("Reversed, but the schema differs:\n" + _listed(difference))
        return None
    names = ", ".join(map(str, steps))
    return Recovery(
        Rung.REVERSED,
        f"Reversed {names}. The schema is as it was, and rows written meanwhile are kept.",
        {"reversed": [step.key for step in steps]},
    )


def _why_not_reverse(case: Case, steps: list[Step]) -> Iterator[str]:
    if not steps:
        yield "this run recorded no migration."
    if case.run.is_half_applied:
        yield "the failed migration runs without a transaction and left a part of itself."
    for step in steps:
        if step.backwards:
            yield f"{step} was itself a step back."
        if step.reversal is not Reversal.LOSSLESS:
            yield f"reversing {step} is {step.reversal}."
    for table, rows in _new_tables(case).items():
        if rows > (case.run.own_rows or Counter())[table]:
            yield f"others wrote to the new table {table}, which reversing would drop."


def _new_tables(case: Case) -> dict[str, int]:
    """Rows in each table that was not there before the run (PostgreSQL; SQLite has one writer)."""
    names = [line.split()[2] for line in case.difference() if line.startswith("+ table ")]
    counts = {}
    if case.run.connection.vendor == "postgresql":
        with case.run.connection.cursor() as cursor:
            for name in names:
                quoted = ".".join(map(case.run.connection.ops.quote_name, name.split(".", 1)))
                cursor.execute(f"SELECT count(*) FROM {quoted}")
                counts[name] = cursor.fetchone()[0]
    return counts


def restored(case: Case) -> Recovery | None:
    """Put the backup back, only if nobody else wrote since or the operator accepts the loss."""
    if case.backup is None:
        case.reasons.append("Not restored: the run was started with --no-backup.")
        return None
    try:
        _prove_nobody_wrote(case, engine_for(case.run.alias))
        done = restore_backup(
            case.backup,
            alias=case.run.alias,
            lock=case.run.lock,
            confirm=lambda loss: None,  # proven, or accepted on the command line
            before_swap=lambda engine: _prove_nobody_wrote(case, engine),
            on_step=lambda step, facts: case.run.journal.record(step, **facts),
            progress=case.run.progress,
        )
    except DeployOpsError as error:
        case.reasons.append(f"Not restored: {error}")
        return None
    return Recovery(
        Rung.RESTORED,
        f"Backup {case.backup.id} is live again. The failed database is kept as {done.kept}.",
        {"kept": done.kept},
    )


def _prove_nobody_wrote(case: Case, engine: Engine) -> None:
    """Raise unless nobody but this run wrote since the backup began, or that is accepted."""
    if case.accept_data_loss or case.backup is None:
        return
    writes = _writes(case, case.backup, engine)
    if writes.answer is not Answer.NOBODY:
        raise RestoreFailed(
            f"others may have written since the backup began ({writes.evidence}), "
            "and restoring would lose it. The live database was not exchanged."
        )


def _writes(case: Case, backup: Backup, engine: Engine) -> Writes:
    """Ask who wrote; the counters of a session that has just ended arrive a moment later."""
    for _ in range(COUNTERS_TRIES):
        writes = engine.writes_since(backup.manifest.mark, own_rows=case.run.own_rows)
        if writes.answer is not Answer.UNKNOWN:
            break
        time.sleep(COUNTERS_PAUSE_SECONDS)
    return writes


def manual(case: Case) -> Recovery:
    """Stop and say precisely what is there and which commands lead out."""
    steps = case.recorded()
    applied = ", ".join(map(str, steps)) or "none"
    lines = [
        "A person is needed. Nothing was thrown away.",
        *case.reasons,
        f"Applied by this run and still there: {applied}.",
        "The schema differs from before the run in:\n" + _listed(case.difference()),
        f"Journal: {case.run.journal.path}",
        "Ways out:",
        "    python manage.py safe_migrate   # after mending the migration: go on forwards",
    ]
    if case.backup is not None:
        lines += [
            f"    python manage.py backups show {case.backup.id}",
            f"    python manage.py restore {case.backup.id}   # shows what it would lose, and asks",
        ]
    facts = {"applied": [step.key for step in steps], "reasons": case.reasons}
    return Recovery(Rung.MANUAL, "\n".join(lines), facts)


def _listed(lines: list[str], most: int = 20) -> str:
    shown = [f"    {line}" for line in lines[:most]]
    if len(lines) > most:
        shown.append(f"    and {len(lines) - most} more")
    return "\n".join(shown) or "    nothing"


RungFunction = Callable[[Case], Recovery | None]
LADDERS: dict[OnFailure, tuple[RungFunction, ...]] = {
    OnFailure.AUTO: (rolled_back, reversed_, restored),
    OnFailure.REVERSE: (rolled_back, reversed_),
    OnFailure.RESTORE: (rolled_back, restored),
    OnFailure.STOP: (rolled_back,),
}
