"""One run from plan to release: plan, lock, back up, apply, verify; after a failure, recover."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connections
from django.utils import translation

from deploy_ops.audit import Kind
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import DatabaseUnavailable, UsageError
from deploy_ops.interrupts import interruptible
from deploy_ops.lock import DeployLock, deploy_lock
from deploy_ops.migrate import journal
from deploy_ops.migrate.backwards import refuse_loss, todo_back
from deploy_ops.migrate.carry_out import carry_out
from deploy_ops.migrate.contract import check_old_code_is_gone, contract, has_waiting
from deploy_ops.migrate.history import History, Todo
from deploy_ops.migrate.other_migrate import refuse_other_migrate
from deploy_ops.migrate.plan import Plan, make_plan
from deploy_ops.migrate.resume import Ask, always_wait, resolve_run
from deploy_ops.migrate.reversal import flat
from deploy_ops.migrate.run import Phase, Request, Result
from deploy_ops.migrate.safety import Safety
from deploy_ops.migrate.targets import django_plan, ensure_connection, load_executor
from deploy_ops.migrate.way_back import check_way_back
from deploy_ops.phases.halves import note_applied
from deploy_ops.phases.operations.base import PhasedOperation
from deploy_ops.phases.taken_names import check_names
from deploy_ops.progress import Progress, Silent
from deploy_ops.restore import has_interrupted, resume_interrupted
from deploy_ops.trail import watched


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
    _check(request)
    result = Result(database=request.alias)
    seen = _look_ahead(request)
    if seen and not _is_something_to_do(request, seen):
        return result
    with deploy_lock(
        request.alias,
        purpose=request.words[0],
        wait=request.wait,
        notify=lambda holder: progress.say(f"Waiting for the deploy lock, held by {holder}"),
    ) as lock:
        _resolve_the_past(request, progress, ask)
        todo = seen if seen and seen.history.is_current() else plan_of(request)
        if _is_something_to_do(request, todo):
            with _closed_if_asked(request, progress, lock):
                _do_phases(request, result, todo, progress, lock)
    return result


def _check(request: Request) -> None:
    refuse_other_migrate(request.alias)
    if request.rehearse and request.safety is Safety.NONE:
        raise UsageError(
            "--rehearse runs the plan on the backup that it takes first, and --no-backup takes "
            "none. Nothing was changed. Leave one of them out."
        )
    if request.rehearse:
        database_for(request.alias).lock_sampler("", ())  # raises where there is nothing to see


def _do_phases(
    request: Request, result: Result, todo: Todo, progress: Progress, lock: DeployLock
) -> None:
    """Apply the migrations; then, if all went well, what waits for the contract phase."""
    if Phase.CONTRACT in request.phases and conf.two_phase and _has_contracts(request, todo):
        check_old_code_is_gone(request, progress)
    if todo.migrations:
        # Slow to load, and most runs have nothing to do.
        from deploy_ops.migrate.lint.refuse import refuse_dangers

        check_way_back(request, todo.plan, progress)
        if request.back_to:
            refuse_loss(request, todo, request.back_to.needs)
        forwards = [migration for migration, backwards in todo.migrations if not backwards]
        check_names(connections[request.alias], forwards)
        refuse_dangers(request, todo)
        with watched(Kind.MIGRATION, database=request.alias) as ending:
            carry_out(request, result, todo, progress=progress, lock=lock)
            ending.outcome, ending.message = result.outcome, result.story
    if Phase.CONTRACT in request.phases and result.status in ("ok", "nothing_to_do"):
        contract(request, result, progress, lock, todo.history)
    if result.status in ("ok", "nothing_to_do") and hasattr(settings, "TASKS"):
        _start_backfills(request, progress)


def _start_backfills(request: Request, progress: Progress) -> None:
    """Leave detached backfills to the workers that the project has."""
    from deploy_ops.phases.backfill.entry import is_there
    from deploy_ops.phases.backfill.queue import start_idle  # needs the models

    connection = connections[request.alias]
    if connection.vendor == "postgresql" and is_there(connection):
        start_idle(request.alias, progress)


def _is_something_to_do(request: Request, todo: Todo) -> bool:
    return bool(todo.migrations) or Phase.CONTRACT in request.phases and has_waiting(request)


def _has_contracts(request: Request, todo: Todo) -> bool:
    """Whether something waits, or would after the migrations that are applied first."""
    operations = [each for migration, _ in todo.migrations for each in flat(migration.operations)]
    return has_waiting(request) or any(isinstance(each, PhasedOperation) for each in operations)


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


def plan_of(request: Request) -> Todo:
    """What there is to do; raises UsageError, PlanRefused, OtherMigrate, DatabaseUnavailable."""
    refuse_other_migrate(request.alias)
    connection = connections[request.alias]
    ensure_connection(connection)
    history = History(load_executor(connection))
    note_applied(connection, history.executor.loader.applied_migrations)
    if Phase.EXPAND not in request.phases:
        if request.migration is not None:
            raise UsageError(
                "The contract phase has no target: what waits is run whole, or of one app. Nothing "
                "was changed. Leave the name of the migration out."
            )
        return Todo(history, [], Plan(()))
    if request.back_to:
        return todo_back(history, request.back_to.targets)
    migrations = django_plan(history.executor, request.app, request.migration)
    plan = make_plan(migrations, history.state) if migrations else Plan(())
    return Todo(history, migrations, plan)


def resolve_earlier(request: Request, *, progress: Progress, ask: Ask = always_wait) -> None:
    """Resolve what killed commands have left, under the deploy lock, where there is something."""
    if not _has_past():
        return
    database, purpose = database_for(request.alias), request.words[0]
    with interruptible(), database.connected_directly():
        with deploy_lock(request.alias, purpose=purpose, wait=request.wait):
            _resolve_the_past(request, progress, ask)


def _has_past() -> bool:
    return has_interrupted() or not all(run.is_resolved for run in journal.read_runs())


def _look_ahead(request: Request) -> Todo | None:
    """What there is to do, before the lock is asked for; None if the past comes first."""
    if _has_past():
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
