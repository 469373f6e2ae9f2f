"""After a failure: look at the facts, choose a recovery step, take it; if it fails, look again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError

from deploy_ops.backup.entry import Backup
from deploy_ops.backup.manifest import NAME
from deploy_ops.databases.base import Answer
from deploy_ops.errors import (
    DatabaseLost,
    DeployOpsError,
    JournalFailed,
    NotLossless,
    RestoreUnfinished,
)
from deploy_ops.interrupts import no_more_interrupts
from deploy_ops.migrate.apply import between, keys, names
from deploy_ops.migrate.failed_run import FailedRun, listed, schema_difference, why
from deploy_ops.migrate.intervention import manual_intervention, manual_intervention_unseen
from deploy_ops.migrate.ladder import Facts, Rung, choose
from deploy_ops.migrate.point import prepare_put_back, since_point, title_of
from deploy_ops.migrate.run import Applied, Failure, Recovery, Remains, Run
from deploy_ops.migrate.undo import obstacles, undo
from deploy_ops.redact import redact
from deploy_ops.restore import Restored
from deploy_ops.restore.since import writes_since

if TYPE_CHECKING:
    from deploy_ops.backup.methods.clone import Clone


class NotHeld(Exception):
    """A recovery step failed; the text says why."""


def recover(run: Run, *, has_lock: bool) -> Recovery:
    """Recover; raises DatabaseLost if the database does not answer any more."""
    failed = FailedRun(run, has_lock)
    if run.begun:
        run.failure = Failure(run.begun, Remains.UNKNOWN, "how it ended was not found out")
    try:
        recovery = _climb(failed)
    except (OperationalError, InterfaceError) as error:
        raise database_lost(run, error) from error
    except (JournalFailed, DatabaseLost):
        raise
    except BaseException as error:  # pylint: disable=broad-exception-caught
        recovery = manual_intervention_unseen(failed, error)
    no_more_interrupts()
    run.journal.record("recovered", rung=recovery.rung, **recovery.facts)
    return recovery


def _climb(failed: FailedRun) -> Recovery:
    acts = {
        Rung.ROLLED_BACK: rolled_back,
        Rung.REVERSED: reversed_,
        Rung.RESTORED: restored,
        Rung.MANUAL_INTERVENTION: manual_intervention,
    }
    while True:
        rung = choose(look(failed), failed.run.policy)
        try:
            return acts[rung](failed)
        except NotHeld as error:
            failed.reasons.append(str(error))
            failed.tried.add(rung)


def look(failed: FailedRun) -> Facts:
    """Gather the facts that `choose` decides by."""
    run, failure = failed.run, failed.run.failure
    why_not = tuple(obstacles(run))
    if not failed.tried:
        failed.reasons = [f"Not reversed: {each}" for each in why_not]
    failed.writes = writes_since(run.database, since_point(run)) if run.has_point else None
    return Facts(
        has_lock=failed.has_lock,
        failed_left_nothing=failure is None or failure.remains is Remains.NOTHING,
        has_applied=bool(run.applied),
        obstacles=why_not,
        has_backup=run.has_point,
        others_wrote=failed.writes.answer if failed.writes else Answer.UNKNOWN,
        accepts_loss=run.request.accept_data_loss,
        tried=frozenset(failed.tried),
    )


def rolled_back(failed: FailedRun) -> Recovery:
    """The failed step left nothing, and nothing else was committed."""
    failure = failed.run.failure
    if failure is None:
        text = f"No migration was begun, so none has to be undone.{_extras(failed.run)}"
        return Recovery(Rung.ROLLED_BACK, text)
    text = (
        f"{between(failure.steps)} left nothing behind in database {_place(failed.run)}: "
        f"{failure.evidence}."
    )
    text += _extras(failed.run) or " This run committed nothing else there."
    return Recovery(Rung.ROLLED_BACK, text + _unseen(failed.run), {"evidence": failure.evidence})


def reversed_(failed: FailedRun) -> Recovery:
    """Undo what this run recorded, and compare the whole schema with the one before."""
    run, steps, failure = failed.run, tuple(failed.run.applied_steps), failed.run.failure
    are_counted = run.database.counts_rows and all(map(_is_counted, run.applied))
    try:
        kept = undo(run)
    except DeployOpsError as error:
        if run.failure and run.failure.remains is Remains.NOTHING:
            run.failure = failure  # the reverse is undone, so what failed first is what is told
        if isinstance(error.__cause__, NotLossless):
            raise NotHeld(f"Not reversed: {error.__cause__}") from error
        raise NotHeld(f"Reversing stopped: {error}") from error
    if difference := schema_difference(run):
        raise NotHeld("Reversed, but the schema differs:\n" + listed(difference))
    text = f"Reversed {names(steps)}. The schema is as it was, compared as a whole."
    if are_counted and not run.extras:
        text += " No row of a table that was there before was changed by it."
    if kept:
        text += f" Rows of the tables that are gone again are kept in {', '.join(kept)}."
    text += _extras(run)
    facts: dict[str, Any] = {"reversed": keys(steps), "kept_tables": kept}
    return Recovery(Rung.REVERSED, text + _unseen(run), facts)


def _is_counted(group: Applied) -> bool:
    """Whether the rows that it changed are known; building indexes alone changes none."""
    return group.rows is not None or all(step.indexes is not None for step in group.steps)


def restored(failed: FailedRun) -> Recovery:
    """Put the safety point back, only if nobody else wrote since or the loss is accepted."""
    run, clone = failed.run, failed.run.clone
    done = _put_back(run)
    backup = run.backup
    if clone is not None:
        run.clone = None
        text = f"{clone.database}, the clone of the database from before the run, is live again."
    else:
        assert backup is not None
        text = f"Backup {backup.id} is live again: every table has as many rows as were backed up."
    text += f" The failed database is kept as {done.previous_database}."
    unseen = _unseen(run)
    run.applied, run.failure = [], None
    if difference := schema_difference(run, after_restore=True):
        lines = "The schema differs from before the run in:\n" + listed(difference)
        raise NotHeld(f"{text} {lines}")
    _compare_properties(run, clone or backup, text)
    if done.view_differences:  # whether the new rows are right, only a person can tell
        raise NotHeld("\n".join([text, *done.view_differences]))
    facts = {"previous_database": done.previous_database}
    return Recovery(Rung.RESTORED, f"{text} The schema is as it was.{unseen}", facts)


def _compare_properties(run: Run, point: "Backup | Clone | None", text: str) -> None:
    if isinstance(point, Backup):
        recorded, kind = point.manifest.extra.get("properties", {}), "backup"
        where = f"extra.properties in {point.directory / NAME}"
    else:
        assert point is not None
        recorded, kind = point.properties, "clone"
        where = f"properties of point_made in {run.journal.path}"
    if properties := run.database.property_differences(recorded):
        raise NotHeld(
            f"{text} What is set for the database itself is not as at the {kind}: "
            f"{', '.join(properties)}. A restore leaves that as it is; what it was stands under "
            f"{where}."
        )


def _put_back(run: Run) -> Restored:
    """Restore and swap, journaling each step; raises NotHeld if the failed database is live."""
    done: Restored | None = None
    views: Sequence[str] = ()
    run.journal.record("restore_started", backup=title_of(run))
    try:
        with prepare_put_back(run) as prepared:
            views = prepared.view_differences
            run.journal.record("restored_beside", beside=prepared.database)
            run.journal.record(
                "swap_started",
                beside=prepared.database,
                previous_database=prepared.previous_database,
            )
            since = None if run.request.accept_data_loss else since_point(run)
            # A request that never ends must not be what keeps a failed database live.
            done = prepared.swap(unless_written_since=since, cuts_off=True)
        run.journal.record("swapped", previous_database=done.previous_database)
    except RestoreUnfinished as error:
        return Restored(run.database.database_name, error.previous_database, view_differences=views)
    except BaseException as error:  # pylint: disable=broad-exception-caught
        if done is None:
            raise NotHeld(f"Not restored: {why(error)}") from error
    return done


def database_lost(run: Run, error: BaseException) -> DatabaseLost:
    """The error for a database that went away; the next run asks it what was committed."""
    return DatabaseLost(
        f"{run.result.error}\nThe database does not answer any more: "
        f"{redact(str(error)).strip()}\nWhat was committed stays, and what was open rolls back. "
        f"Once it answers, this finds out and goes on:\n{run.request.again()}"
    )


def _place(run: Run) -> str:
    return run.database.database_name


def _extras(run: Run) -> str:
    """What was committed besides migrations, and stays."""
    return f" Committed besides, and not undone: {' and '.join(run.extras)}." if run.extras else ""


def _unseen(run: Run) -> str:
    """Name what no comparison of this database can see."""
    began = [*run.applied_steps, *(run.failure.steps if run.failure else ())]
    if not any(step.runs_code for step in began or run.plan.steps):
        return ""
    return (
        " What its code did elsewhere (over connections of its own, in other databases, "
        "files, services) was not looked at, and sequences stay where it left them."
    )
