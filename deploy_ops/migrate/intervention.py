"""Where no recovery step is left: what a person is told, and which commands lead out."""

from deploy_ops.advice import manage
from deploy_ops.databases.base import Answer
from deploy_ops.errors import DeployOpsError
from deploy_ops.migrate.apply import between, keys, names
from deploy_ops.migrate.failed_run import FailedRun, listed, schema_difference, why
from deploy_ops.migrate.ladder import RESTORES, Rung
from deploy_ops.migrate.plan import Step
from deploy_ops.migrate.point import since_point
from deploy_ops.migrate.recorded import recorded
from deploy_ops.migrate.run import Recovery, Remains, Run


def manual_intervention(failed: FailedRun) -> Recovery:
    """Stop and say precisely what is there and which commands lead out."""
    run, done = failed.run, _recorded_all_the_same(failed.run)
    steps = (*failed.run.applied_steps, *done)
    lines = [
        "Manual intervention required.",
        *failed.reasons,
        *_why_not_restored(failed),
        f"Committed by this run and still there: {names(steps) or 'none'}.",
        *_failed_part(run, done),
        *_schema_part(run),
        f"Journal: {run.journal.path}",
        "Ways out:",
        run.request.again() + "   # after the migration is fixed",
    ]
    if run.clone is not None:
        words = ("restore", "--to-point", run.clone.database)
        lines.append(manage(*words, alias=run.alias) + "   # shows the loss, and asks")
    elif run.restore_point is not None:
        words = ("restore", "--to-point", run.restore_point.name)
        lines.append(manage(*words, alias=run.alias) + "   # shows the loss, and asks")
    elif run.backup is not None:
        lines += [
            manage("backups", "show", run.backup.id, alias=run.alias),
            manage("restore", run.backup.id, alias=run.alias) + "   # shows the loss, and asks",
        ]
    return Recovery(
        Rung.MANUAL_INTERVENTION,
        "\n".join(lines),
        {"applied": keys(steps), "reasons": failed.reasons},
    )


def manual_intervention_unseen(failed: FailedRun, error: BaseException) -> Recovery:
    """Stop where even looking failed: nothing is claimed of the database."""
    run = failed.run
    lines = [
        "Manual intervention required.",
        *failed.reasons,
        f"Looking for a way back stopped: {why(error)}",
        f"What is committed stands in the journal: {run.journal.path}",
        "The next run reads it and says what it finds:",
        run.request.again(),
    ]
    steps = keys(tuple(run.applied_steps))
    return Recovery(
        Rung.MANUAL_INTERVENTION, "\n".join(lines), {"applied": steps, "reasons": failed.reasons}
    )


def _why_not_restored(failed: FailedRun) -> list[str]:
    """Why restoring was not even tried."""
    run = failed.run
    if Rung.RESTORED in failed.tried or not failed.has_lock:
        return []
    if not run.has_point:
        return ["Not restored: the run was started with --no-backup."]
    if failed.writes is None:
        return []
    if run.request.on_failure not in RESTORES:
        return [f"Not restored: --on-failure is {run.request.on_failure}."]
    moment = since_point(run).moment
    if failed.writes.answer is Answer.UNKNOWABLE:
        return [
            f"Not restored: whether others wrote since {moment} cannot be known any more "
            f"({failed.writes.evidence}), and restoring could lose it."
        ]
    return [
        f"Not restored: others wrote since {moment} ({failed.writes.evidence}), and "
        "restoring would lose it."
    ]


def _recorded_all_the_same(run: Run) -> tuple[Step, ...]:
    """Steps that failed after their row in django_migrations was committed.

    Django writes it before the end of a step without a transaction, where SQLite looks at the
    foreign keys; code that ended its transaction may go on to the end too.
    """
    if run.failure is None or run.failure.remains is Remains.NOTHING:
        return ()
    there = recorded(run.connection)
    return tuple(step for step in run.failure.steps if (step.key in there) != step.backwards)


def _failed_part(run: Run, done: tuple[Step, ...]) -> list[str]:
    if run.failure is None:
        return []
    failed = between(run.failure.steps)
    if run.failure.remains is Remains.NOTHING:
        return [f"{failed} left nothing behind: {run.failure.evidence}."]
    is_recorded = "It is recorded as done, although it failed. " if done else ""
    return [
        f"What {failed} wrote is not known: {run.failure.evidence}. {is_recorded}Look at its "
        "tables before anything runs again."
    ]


def _schema_part(run: Run) -> list[str]:
    try:
        difference = schema_difference(run)
    except DeployOpsError as error:
        return [f"The schema could not be compared with the one before: {error}"]
    if not difference:
        return ["The schema equals the one before the run. That says nothing about rows."]
    return ["The schema differs from before the run in:", listed(difference)]
