"""One run with a journal: back up, apply, finish; after a failure, recover."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

from django.db.migrations.recorder import MigrationRecorder

from deploy_ops.backup.entry import Backup
from deploy_ops.databases import database_for
from deploy_ops.errors import (
    DatabaseLost,
    DeployOpsError,
    JournalFailed,
    LockLost,
    PlanRefused,
)
from deploy_ops.interrupts import no_more_interrupts
from deploy_ops.lock import DeployLock
from deploy_ops.migrate import journal
from deploy_ops.migrate.apply import apply_plan, text_of
from deploy_ops.migrate.finish import finish
from deploy_ops.migrate.history import Todo
from deploy_ops.migrate.ladder import Rung
from deploy_ops.migrate.plan import Plan, Step
from deploy_ops.migrate.point import drop_point, make_point, save_point
from deploy_ops.migrate.recover import recover
from deploy_ops.migrate.run import Remains, Request, Result, Run
from deploy_ops.migrate.session import application_name
from deploy_ops.migrate.signals import Statements, send_pre_migrate
from deploy_ops.migrate.undoing import together
from deploy_ops.migrate.verify import timeout_findings
from deploy_ops.progress import Progress


def carry_out(  # pylint: disable=too-many-arguments  # each a different caller's need
    request: Request,
    result: Result,
    todo: Todo,
    *,
    progress: Progress,
    lock: DeployLock,
    backup: Backup | None = None,
) -> Backup | None:
    """Do what is to be done with a journal, which says how it ended, whatever happens.

    A safety backup is taken unless one is given; returns it.
    """
    database = database_for(request.alias)
    groups = _groups(request, todo.plan)
    result.findings += timeout_findings(database.server_timeouts())
    with closing(_start_journal(request, todo.plan)) as writer:
        result.run = writer.run
        run = Run(
            request=request,
            result=result,
            progress=progress,
            lock=lock,
            todo=todo,
            history=todo.history,
            journal=writer,
            backup=backup,
        )
        with _ending(run):
            make_point(run)
        name = application_name(writer.run)
        with database.migrating_session(name, request.lock_timeout) as prepare:
            run.prepare = prepare
            with _ending(run):
                _prepare(run)
            run.add_own_rows(database.counted(lambda: _make_recorder(run)))
            _apply(run, groups)
        if not _is_open(run):
            writer.record("finished", status=result.status)
    journal.prune_runs(datetime.now(UTC))
    return run.backup


def _start_journal(request: Request, plan: Plan) -> journal.Journal:
    identity = database_for(request.alias).identify()
    return journal.Journal.start(
        database=identity.place,
        key=identity.key,
        alias=request.alias,
        command=request.words,
        process=os.getpid(),
        host=socket.gethostname(),
        plan=[(*step.key, step.backwards) for step in plan.steps],
    )


def _groups(request: Request, plan: Plan) -> Iterable[tuple[Step, ...]]:
    """The steps as they are committed; raises PlanRefused where that cannot be as asked for."""
    if request.single_transaction:
        if not plan.fits_one_transaction:
            names = ", ".join(str(s) for s in plan.steps if not s.is_atomic or s.backwards)
            raise PlanRefused(
                f"--single-transaction is not possible: non-atomic or reverse migrations ({names}) "
                "cannot share a transaction with others. Nothing was changed. Leave the flag out "
                "to apply one by one."
            )
        return [plan.steps]
    if plan.is_way_back:
        return together(plan.steps)
    return plan.groups(database_for(request.alias).table_sizes(plan.tables) or {})


@contextmanager
def _ending(run: Run) -> Iterator[None]:
    """Note that the run has ended if the block fails, in which no migration is begun."""
    try:
        yield
    except BaseException:
        drop_point(run)
        run.journal.record("finished", status="error")
        raise


def _prepare(run: Run) -> None:
    """Rehearse, and take the schema before; a failure here has begun no migration."""
    if run.request.rehearse:
        from deploy_ops.migrate.rehearse import rehearse  # seldom asked for

        with run.result.timed("rehearsal"):
            run.result.rehearsal = rehearse(run)
        rehearsal = run.result.rehearsal
        run.journal.record("rehearsed", steps=rehearsal.by_name(), measured=rehearsal.measured())
    run.before = run.database.schema()
    run.invalid_before = frozenset(run.database.invalid_objects())
    run.tables_before = frozenset(run.database.relations())


def _make_recorder(run: Run) -> None:
    if not run.database.has_table("django_migrations"):
        run.extras.append("the table django_migrations")
    run.connection.prepare_database()
    MigrationRecorder(run.connection).ensure_schema()


def _apply(run: Run, groups: Iterable[tuple[Step, ...]]) -> None:
    """Apply and finish; whatever is raised on the way, `run.result` says how it ended."""
    result = run.result
    try:
        with result.timed("apply"):
            _send_pre_migrate(run)
            apply_plan(run, groups)
    except (JournalFailed, DatabaseLost):
        raise
    except BaseException as error:  # pylint: disable=broad-exception-caught
        _failed(run, error)
    else:
        finish(run)
    finally:
        no_more_interrupts()


def _send_pre_migrate(run: Run) -> None:
    if run.plan.is_contract:
        return
    statements = Statements()
    try:
        send_pre_migrate(run.alias, run.history.state, run.todo.migrations, statements)
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
    if not is_open:
        save_point(run)


def _is_open(run: Run) -> bool:
    """Whether the next run has to ask before it goes on, or to finish what this one could not."""
    is_unknown = run.failure is not None and run.failure.remains is Remains.UNKNOWN
    return run.result.status == "failed" and (is_unknown or run.is_unfinished)
