"""One run from plan to release: plan, lock, back up, apply, verify; after a failure, recover."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.utils import translation

from deploy_ops.backup.create import take_backup
from deploy_ops.databases import database_for
from deploy_ops.errors import (
    DatabaseLost,
    DatabaseUnavailable,
    DeployOpsError,
    JournalFailed,
    LockLost,
    PlanRefused,
)
from deploy_ops.interrupts import interruptible, no_more_interrupts
from deploy_ops.lock import DeployLock, deploy_lock
from deploy_ops.migrate import journal
from deploy_ops.migrate.apply import apply_plan, text_of
from deploy_ops.migrate.finish import finish
from deploy_ops.migrate.ladder import Rung
from deploy_ops.migrate.plan import Plan, make_plan
from deploy_ops.migrate.recover import recover
from deploy_ops.migrate.resume import Ask, always_wait, resolve_run
from deploy_ops.migrate.run import DjangoPlan, History, Remains, Request, Result, Run
from deploy_ops.migrate.session import application_name
from deploy_ops.migrate.signals import Statements, send_pre_migrate
from deploy_ops.migrate.targets import django_plan, ensure_connection, load_executor
from deploy_ops.migrate.verify import timeout_findings
from deploy_ops.progress import Progress, Silent
from deploy_ops.restore import has_interrupted, resume_interrupted


@translation.override(None)  # names that migrations write are not translated, as in migrate
def safe_migrate(
    request: Request, *, progress: Progress = Silent(), ask: Ask = always_wait
) -> Result:
    """Apply what is pending; if it fails, recover by the least destructive step that loses nothing.

    Raises DeployOpsError where no migration was begun (LockHeld, PlanRefused, BackupFailed, ...),
    or with exit code 4 where a person or the next run has to find out what was; any other failure
    is a Result that says how it was recovered.
    """
    with interruptible(), database_for(request.alias).connected_directly():
        return _safe_migrate(request, progress, ask)


def _safe_migrate(request: Request, progress: Progress, ask: Ask) -> Result:
    result = Result(database=request.alias)
    seen = _look_ahead(request)
    if seen and not seen[1]:
        return result
    with deploy_lock(
        request.alias,
        purpose="safe_migrate",
        wait=request.wait,
        notify=lambda holder: progress.say(f"Waiting for the deploy lock, held by {holder}"),
    ) as lock:
        _resolve_the_past(request, progress, ask)
        history, todo = seen if seen and seen[0].is_current() else plan_of(request)
        if todo:
            with _closed_if_asked(request, progress, lock):
                _migrate(request, result, progress, lock, history, todo)
    return result


@contextmanager
def _closed_if_asked(request: Request, progress: Progress, lock: DeployLock) -> Iterator[None]:
    """Close the database to others for the run (--exclusive), so that a restore loses nothing."""
    if not request.exclusive:
        yield
        return
    name = database_for(request.alias).database_name
    with database_for(request.alias).closed_to_others(lock.check):
        progress.say(f"{name} is closed to others; their sessions were ended")
        yield
    progress.say(f"{name} is open again")


def plan_of(request: Request) -> tuple[History, DjangoPlan]:
    """What Django would do; raises UsageError, PlanRefused, DatabaseUnavailable."""
    connection = connections[request.alias]
    ensure_connection(connection)
    executor = load_executor(connection)
    return History(executor), django_plan(executor, request.app, request.migration)


def _look_ahead(request: Request) -> tuple[History, DjangoPlan] | None:
    """What there is to do, before the lock is asked for; None if the past comes first."""
    if has_interrupted() or not all(run.is_resolved for run in journal.read_runs()):
        return None
    try:
        return plan_of(request)
    except DatabaseUnavailable:
        if not database_for(request.alias).is_left_closed():
            raise
        return None


def _resolve_the_past(request: Request, progress: Progress, ask: Ask) -> None:
    """Resolve what a killed command left; we hold the lock, so none of it is still running here."""
    if report := resume_interrupted(request.alias):
        progress.say(report)
    ensure_connection(connections[request.alias])
    for record in journal.unresolved_runs(database_for(request.alias).identify().key):
        resolve_run(record, request, ask=ask, progress=progress)


def _migrate(  # pylint: disable=too-many-arguments,too-many-positional-arguments
    request: Request,
    result: Result,
    progress: Progress,
    lock: DeployLock,
    history: History,
    todo: DjangoPlan,
) -> None:
    """Run the plan with a journal; the journal says how it ended, whatever happens."""
    plan, database = make_plan(todo, history.state), database_for(request.alias)
    at_once = _in_one_transaction(request, plan)
    result.findings += timeout_findings(database.server_timeouts())
    with closing(_start_journal(request, plan)) as writer:
        result.run = writer.run
        run = Run(
            request=request,
            result=result,
            progress=progress,
            lock=lock,
            history=history,
            todo=todo,
            plan=plan,
            journal=writer,
        )
        name = application_name(writer.run)
        with database.migrating_session(name, request.lock_timeout) as prepare:
            run.prepare = prepare
            _prepare(run)
            _apply(run, at_once)
        if not _is_open(run):
            writer.record("finished", status=result.status)
    journal.prune_runs(datetime.now(UTC))


def _start_journal(request: Request, plan: Plan) -> journal.Journal:
    identity = database_for(request.alias).identify()
    return journal.Journal.start(
        database=identity.place,
        key=identity.key,
        alias=request.alias,
        process=os.getpid(),
        host=socket.gethostname(),
        plan=[(*step.key, step.backwards) for step in plan.steps],
    )


def _in_one_transaction(request: Request, plan: Plan) -> bool:
    """Decide by the request, else by the plan; raises PlanRefused where it cannot be."""
    if request.single_transaction and not plan.fits_one_transaction:
        names = ", ".join(str(s) for s in plan.steps if not s.is_atomic or s.backwards)
        raise PlanRefused(
            f"--single-transaction is not possible: non-atomic or reverse migrations ({names}) "
            "cannot share a transaction with others. Nothing was changed. Leave the flag out to "
            "apply one by one."
        )
    sizes = database_for(request.alias).table_sizes(plan.tables) or {}
    return request.single_transaction or (plan.fits_one_transaction and plan.is_cheap(sizes))


def _prepare(run: Run) -> None:
    """Take the safety point and the schema before; a failure here has begun no migration."""
    try:
        _back_up(run)
        run.before = run.database.schema()
        run.invalid_before = frozenset(run.database.invalid_objects())
        run.tables_before = frozenset(run.database.relations())
    except BaseException:
        run.journal.record("finished", status="error")
        raise
    run.add_own_rows(run.database.counted(lambda: _make_recorder(run)))


def _make_recorder(run: Run) -> None:
    if not run.database.has_table("django_migrations"):
        run.extras.append("the table django_migrations")
    run.connection.prepare_database()
    MigrationRecorder(run.connection).ensure_schema()


def _back_up(run: Run) -> None:
    if not run.request.with_backup:
        run.progress.say("No backup is taken (--no-backup): a failure cannot be restored.")
        return
    run.journal.record("backup_started")
    with run.result.timed("backup"):
        backup = take_backup(run.alias, lock=run.lock, run=run.journal.run, progress=run.progress)
    run.journal.record("backed_up", backup=backup.id)
    run.backup, run.result.backup = backup, backup.id
    run.progress.say(f"Backup {backup.id} is verified")


def _apply(run: Run, at_once: bool) -> None:
    """Apply and finish; whatever is raised on the way, `run.result` says how it ended."""
    result = run.result
    try:
        with result.timed("apply"):
            _send_pre_migrate(run)
            apply_plan(run, in_one_transaction=at_once)
    except (JournalFailed, DatabaseLost):
        raise
    except BaseException as error:  # pylint: disable=broad-exception-caught
        _failed(run, error)
    else:
        finish(run)
    finally:
        no_more_interrupts()


def _send_pre_migrate(run: Run) -> None:
    statements = Statements()
    try:
        send_pre_migrate(run.alias, run.history.state, run.todo, statements)
    finally:
        if statements.may_have_written:
            run.extras.append("what handlers of pre_migrate did")
            run.add_own_rows(None)


def _failed(run: Run, error: BaseException) -> None:
    is_ours = isinstance(error, DeployOpsError)
    run.result.error = (
        str(error) if is_ours else f"Stopped by an unexpected error: {text_of(error)}"
    )
    if isinstance(error, KeyboardInterrupt):
        run.result.error = "Stopped by the operator."
    with suppress(KeyboardInterrupt):  # asks for nothing else than what comes now
        run.progress.say(run.result.error)
    with run.result.timed("recover"):
        run.result.recovery = recover(run, has_lock=not isinstance(error, LockLost))
    is_open = run.result.recovery.rung is Rung.MANUAL_INTERVENTION
    run.result.status = "failed" if is_open else "recovered"


def _is_open(run: Run) -> bool:
    """Whether the next run has to ask before it goes on, or to finish what this one could not."""
    is_unknown = run.failure is not None and run.failure.remains is Remains.UNKNOWN
    return run.result.status == "failed" and (is_unknown or run.is_unfinished)
