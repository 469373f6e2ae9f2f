"""The story: plan, lock, back up, apply, verify; and when it fails, recover."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.core.checks import CheckMessage
from django.db import InterfaceError, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.utils import translation

from deploy_ops.backup.create import take_backup
from deploy_ops.backup.engines import engine_for
from deploy_ops.backup.entry import Backup
from deploy_ops.backup.restore import has_interrupted, resume_interrupted
from deploy_ops.errors import DatabaseLost, DeployOpsError, LockLost, PlanRefused, StepFailed
from deploy_ops.lock import DeployLock, deploy_lock
from deploy_ops.migrate import journal
from deploy_ops.migrate.apply import History, Run, apply_plan
from deploy_ops.migrate.fingerprint import take_fingerprint
from deploy_ops.migrate.plan import Key, Plan, make_plan
from deploy_ops.migrate.recover import Case, OnFailure, Recovery, Rung, manual, recover
from deploy_ops.migrate.resume import Ask, settle
from deploy_ops.migrate.session import migration_session, server_timeouts
from deploy_ops.migrate.signals import DjangoPlan, send_post_migrate, send_pre_migrate
from deploy_ops.migrate.targets import django_plan, load_executor, reach, table_sizes
from deploy_ops.migrate.verify import timeout_findings, verify_run
from deploy_ops.progress import Progress
from deploy_ops.redact import redact


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the operator asked for."""

    alias: str
    app: str | None = None
    migration: str | None = None
    with_backup: bool = True
    on_failure: OnFailure = OnFailure.AUTO
    accept_data_loss: bool = False
    single_transaction: bool = False
    lock_timeout: timedelta = timedelta(seconds=2)
    lock_retries: int = 10
    wait: timedelta = timedelta(seconds=60)


@dataclass(kw_only=True)
class Result:
    """How it ended; `status` is ok, nothing_to_do, recovered or failed."""

    database: str
    status: str = "nothing_to_do"
    run: str | None = None
    backup: str | None = None
    applied: list[Key] = field(default_factory=list)
    findings: list[CheckMessage] = field(default_factory=list)
    recovery: Recovery | None = None
    error: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 done, 3 recovered, 4 a person is needed."""
        return {"ok": 0, "nothing_to_do": 0, "recovered": 3, "failed": 4}[self.status]

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Note how long a phase took."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = round(time.monotonic() - started, 3)


@dataclass(frozen=True, slots=True)
class Work:
    """One call of safe_migrate: what was asked, what came of it so far, and who listens."""

    request: Request
    result: Result
    progress: Progress


@translation.override(None)  # names that migrations write are not translated, as in migrate
def safe_migrate(request: Request, *, progress: Progress, ask: Ask) -> Result:
    """Apply what is pending so that a failure costs nothing.

    Raises DeployOpsError where nothing was changed (LockHeld, PlanRefused, BackupFailed, ...); a
    failure after that is a Result that says how it was recovered.
    """
    with engine_for(request.alias).connected_directly():
        return _safe_migrate(request, progress, ask)


def _safe_migrate(request: Request, progress: Progress, ask: Ask) -> Result:
    work = Work(request, Result(database=request.alias), progress)
    if _is_settled() and not plan_of(request)[1]:
        return work.result
    with deploy_lock(
        request.alias,
        purpose="safe_migrate",
        wait=request.wait,
        notify=lambda holder: progress.say(f"Waiting for the deploy lock, held by {holder}"),
    ) as lock:
        _settle_the_past(work, ask)
        executor, todo = plan_of(request)
        if todo:
            _migrate(work, lock, History(executor), todo)
    return work.result


def plan_of(request: Request) -> tuple[MigrationExecutor, DjangoPlan]:
    """What Django would do; raises UsageError, PlanRefused, DatabaseUnavailable."""
    connection = connections[request.alias]
    reach(connection)
    executor = load_executor(connection)
    return executor, django_plan(executor, request.app, request.migration)


def _is_settled() -> bool:
    return not has_interrupted() and all(run.is_resolved for run in journal.read_runs())


def _settle_the_past(work: Work, ask: Ask) -> None:
    """Resolve what a killed command left; we hold the lock, so none of it is still running here."""
    request, progress = work.request, work.progress
    if told := resume_interrupted(request.alias):
        progress.say(told)
    connection = connections[request.alias]
    reach(connection)
    for record in journal.unresolved_runs(engine_for(request.alias).identify().place):
        settle(record, connection, ask=ask, wait=request.wait, progress=progress)


def _migrate(work: Work, lock: DeployLock, history: History, todo: DjangoPlan) -> None:
    """Run the plan with a journal; the journal says how it ended, whatever happens."""
    connection = connections[work.request.alias]
    plan = make_plan(todo, history.state)
    at_once = _in_one_transaction(work.request, plan)
    work.result.findings += timeout_findings(server_timeouts(connection))
    with _journaled(work, plan) as writer:
        with migration_session(connection, writer.run, work.request.lock_timeout) as prepare:
            run = _run(work, lock, writer, prepare)
            backup = _back_up(work, run)
            connection.prepare_database()
            MigrationRecorder(connection).ensure_schema()
            before = take_fingerprint(connection)
            case = Case(run, plan, backup, before, work.request.accept_data_loss)
            _apply(work, case, history, todo, at_once)
    journal.prune_runs(datetime.now(UTC))


@contextmanager
def _journaled(work: Work, plan: Plan) -> Iterator[journal.Journal]:
    """Open the journal, and record how the run ended; an exception leaves it unresolved."""
    writer = journal.Journal.start(
        database=engine_for(work.request.alias).identify().place,
        alias=work.request.alias,
        process=os.getpid(),
        host=socket.gethostname(),
        plan=[step.key for step in plan.steps],
    )
    work.result.run = writer.run
    with closing(writer):
        yield writer
        writer.record("finished", status=work.result.status)


def _run(work: Work, lock: DeployLock, writer: journal.Journal, prepare: Callable[[], None]) -> Run:
    request = work.request
    return Run(
        alias=request.alias,
        connection=connections[request.alias],
        lock=lock,
        journal=writer,
        progress=work.progress,
        lock_timeout=request.lock_timeout,
        lock_retries=request.lock_retries,
        prepare=prepare,
    )


def _in_one_transaction(request: Request, plan: Plan) -> bool:
    """Decide by the request, else by the plan; raises PlanRefused where it cannot be."""
    if request.single_transaction and not plan.fits_one_transaction:
        names = ", ".join(str(s) for s in plan.steps if not s.is_atomic or s.backwards)
        raise PlanRefused(
            f"--single-transaction cannot hold {names}, which runs without a transaction or "
            "backwards. Nothing was changed. Leave the flag out to apply one by one."
        )
    sizes = table_sizes(connections[request.alias], plan.tables) or {}
    return request.single_transaction or (plan.fits_one_transaction and plan.is_cheap(sizes))


def _back_up(work: Work, run: Run) -> Backup | None:
    if not work.request.with_backup:
        run.progress.say("No backup is taken (--no-backup): a failure cannot be restored.")
        return None
    run.journal.record("backup_started")
    try:
        with work.result.timed("backup"):
            backup = take_backup(
                run.alias, lock=run.lock, run=run.journal.run, progress=run.progress
            )
    except DeployOpsError:
        run.journal.record("finished", status="refused")
        raise
    run.journal.record("backed_up", backup=backup.id)
    work.result.backup = backup.id
    run.progress.say(f"Backup {backup.id} is verified")
    return backup


def _apply(work: Work, case: Case, history: History, todo: DjangoPlan, at_once: bool) -> None:
    result = work.result
    try:
        with result.timed("apply"):
            send_pre_migrate(case.run.alias, history.state, todo)
            apply_plan(case.run, history, case.plan, in_one_transaction=at_once)
    except (StepFailed, LockLost) as error:
        result.error = str(error)
        work.progress.say(result.error)
        with result.timed("recover"):
            result.recovery = _recover(case, error, work.request.on_failure)
        is_open = result.recovery.rung is Rung.MANUAL
        result.status = "failed" if is_open else "recovered"
    else:
        _finish(result, case, history, todo)


def _recover(case: Case, error: StepFailed | LockLost, on_failure: OnFailure) -> Recovery:
    try:
        # Without the lock another deployment may be at work: only a person can go on.
        return manual(case) if isinstance(error, LockLost) else recover(case, on_failure)
    except (OperationalError, InterfaceError) as lost:
        # The journal stays unresolved, so that the next run finds out what was committed.
        raise DatabaseLost(
            f"{error}\nThe database does not answer any more: {redact(str(lost)).strip()}\n"
            "What was committed stays, and what was open rolls back. Once it answers, this finds "
            "out and goes on:\n    python manage.py safe_migrate"
        ) from lost


def _finish(result: Result, case: Case, history: History, todo: DjangoPlan) -> None:
    """Everything is applied and committed: verify it and tell post_migrate's handlers."""
    result.applied = [step.key for step in case.plan.steps]
    result.status = "ok"
    try:
        with result.timed("verify"):
            result.findings += verify_run(case.run.connection, case.plan, case.before)
        with result.timed("post_migrate"):
            send_post_migrate(case.run.alias, history.state, todo)
    except (StepFailed, KeyboardInterrupt) as error:
        # The schema is complete, so there is nothing to reverse; the handlers can run again.
        result.status = "failed"
        result.error = str(error) or "Stopped by the operator."
        result.recovery = Recovery(
            Rung.NONE,
            "All migrations are applied. Only the handlers of post_migrate are missing. Mend "
            "them and send the signal again:\n    python manage.py migrate",
        )
