"""Run a plan with Django's own executor, one migration at a time, each in one transaction of ours.

The outer transaction takes in the row of django_migrations, which Django itself writes after the
commit when there is deferred SQL (docs/decisions/0005): a step is recorded and done, or
neither. A migration with `atomic = False` runs as Django runs it.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from deploy_ops.errors import StepFailed
from deploy_ops.lock import DeployLock
from deploy_ops.migrate.fingerprint import Fingerprint, take_fingerprint
from deploy_ops.migrate.journal import Journal
from deploy_ops.migrate.plan import Key, Plan, Step
from deploy_ops.migrate.session import heal, is_lock_failure, lock_holders
from deploy_ops.progress import Progress

LONGEST_PAUSE_SECONDS = 8.0
CHECK_CONSTRAINTS = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"
# As in pg_stat_xact_user_tables, without the sums over indexes that make that slow. The flush makes
# the session's counters start from zero in its next transaction.
OWN_ROWS = """
    SELECT nspname || '.' || relname, changes, pg_stat_force_next_flush()
    FROM (SELECT relname, relnamespace, pg_stat_get_xact_tuples_inserted(oid)
            + pg_stat_get_xact_tuples_updated(oid) + pg_stat_get_xact_tuples_deleted(oid) AS changes
        FROM pg_class WHERE relkind IN ('r', 't', 'm', 'p')) AS relation
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE changes > 0 AND nspname NOT IN ('pg_catalog', 'information_schema')
      AND nspname !~ '^pg_toast'
"""


@dataclass
class Run:
    """What every step of a run needs, and what the run has done so far.

    `own_rows` counts the rows this run wrote by table, rolled back ones included, as the server's
    own counters do; None once they could not be told.
    """

    alias: str
    connection: BaseDatabaseWrapper
    lock: DeployLock
    journal: Journal
    progress: Progress
    lock_timeout: timedelta
    lock_retries: int
    prepare: Callable[[], None]
    own_rows: Counter[str] | None = field(default_factory=Counter)
    is_half_applied: bool = False


class History:
    """Where in the history of migrations the database stands: Django's executor and state."""

    def __init__(self, executor: MigrationExecutor) -> None:
        self.executor = executor
        self.state = self._applied_state(executor)

    def rewind(self) -> None:
        """Go back to what the database has recorded; an attempt that failed left its traces."""
        self.state = self._applied_state(MigrationExecutor(self.executor.connection))

    def migration(self, step: Step) -> Migration:
        """Return the one object of the migration, which pre_migrate handlers may have amended."""
        return self.executor.loader.get_migration(*step.key)

    def advance(self, step: Step) -> None:
        """Apply one migration."""
        _ = self.state.apps  # rendered before, as Django does, so that operations share it
        self.state = self.executor.apply_migration(self.state, self.migration(step))

    def retreat(self, step: Step) -> None:
        """Unapply one migration."""
        self.executor.loader.build_graph()
        self.state = self.executor.migrate([], plan=[(self.migration(step), True)])

    @staticmethod
    def _applied_state(executor: MigrationExecutor) -> ProjectState:
        # pylint: disable-next=protected-access  # Django's migrate calls it for its signals too
        state: ProjectState = executor._create_project_state(  # type: ignore[attr-defined]
            with_applied_migrations=True
        )
        return state


def apply_plan(run: Run, history: History, plan: Plan, *, in_one_transaction: bool) -> None:
    """Apply the plan; raises StepFailed, and django_migrations tells what is committed."""
    groups = [plan.steps] if in_one_transaction else [(step,) for step in plan.steps]
    try:
        for group in groups:
            run.lock.check()
            _apply_with_retries(run, history, group)
        history.executor.check_replacements()
    except KeyboardInterrupt as error:  # between two steps, or in the pause before a retry
        raise StepFailed("Stopped by the operator between two migrations.") from error


def _apply_with_retries(run: Run, history: History, group: tuple[Step, ...]) -> None:
    for attempt in range(run.lock_retries + 1):
        before = _announce(run, group)
        started = time.monotonic()
        try:
            _perform(run, group, history.retreat if group[0].backwards else history.advance)
        # Ctrl-C too must leave a healthy session and a record.
        except BaseException as error:  # pylint: disable=broad-exception-caught
            heal(run.connection, run.prepare)
            run.is_half_applied = before is not None and take_fingerprint(run.connection) != before
            if attempt == run.lock_retries or run.is_half_applied or not is_lock_failure(error):
                raise _failed(run, group, error) from error
            _pause(run, group, attempt, error)
            history.rewind()
        else:
            seconds = round(time.monotonic() - started, 3)
            run.journal.record("migration_applied", migrations=_keys(group), own_rows=run.own_rows)
            verb = "Reversed" if group[0].backwards else "Applied"
            run.progress.say(f"{verb} {', '.join(map(str, group))} ({seconds} s)")
            return


def _announce(run: Run, group: tuple[Step, ...]) -> Fingerprint | None:
    """Record what starts; for a step without a transaction also the schema it starts from."""
    if group[0].is_atomic:
        run.journal.record(
            "migration_started",
            migrations=_keys(group),
            backwards=group[0].backwards,
            is_atomic=True,
        )
        return None
    before = take_fingerprint(run.connection)
    run.journal.record(
        "migration_started",
        migrations=_keys(group),
        backwards=group[0].backwards,
        is_atomic=False,
        schema=sorted(before.lines),
    )
    return before


def _perform(run: Run, group: tuple[Step, ...], move: Callable[[Step], None]) -> None:
    is_atomic = group[0].is_atomic
    with _own_transaction(run) if is_atomic else nullcontext():
        for step in group:
            move(step)
            # Deferred ones fail here, with their step; with one step alone COMMIT does the same.
            if len(group) > 1 and run.connection.vendor == "postgresql":
                with run.connection.cursor() as cursor:
                    cursor.execute(CHECK_CONSTRAINTS)
    if not is_atomic:
        run.own_rows = None


@contextmanager
def _own_transaction(run: Run) -> Iterator[None]:
    """Hold one transaction around Django's own, which becomes a savepoint in it."""
    # SQLite's schema editor wants foreign keys off, which no open transaction can do any more.
    is_sqlite = run.connection.vendor == "sqlite"
    if is_sqlite:
        run.connection.disable_constraint_checking()
    try:
        with transaction.atomic(run.alias):
            try:
                yield
            finally:
                _add_own_rows(run)
    finally:
        if is_sqlite and not run.connection.in_atomic_block:
            run.connection.enable_constraint_checking()


def _add_own_rows(run: Run) -> None:
    """Add this transaction's rows, also when it is about to roll back: the server counts them."""
    if run.connection.vendor != "postgresql":
        return
    try:
        with run.connection.cursor() as cursor:
            cursor.execute(OWN_ROWS)
            rows = Counter({name: changes for name, changes, _ in cursor.fetchall()})
    except DatabaseError:
        run.own_rows = None  # the transaction is broken beyond asking: unknown from here on
        return
    if run.own_rows is not None:
        run.own_rows += rows


def _pause(run: Run, group: tuple[Step, ...], attempt: int, error: BaseException) -> None:
    """Let the queue drain: idle at least as long as we made others wait, with jitter."""
    ceiling = min(LONGEST_PAUSE_SECONDS, run.lock_timeout.total_seconds() * 2**attempt)
    seconds = max(run.lock_timeout.total_seconds(), random.uniform(0.5, 1.0) * ceiling)
    holders = lock_holders(run.connection, {table for step in group for table in step.tables})
    run.journal.record("migration_retried", migrations=_keys(group), error=_text(error))
    run.progress.say(
        f"{', '.join(map(str, group))} did not get its lock{holders}; "
        f"rolled back, attempt {attempt + 2} of {run.lock_retries + 1} in {seconds:.1f} s"
    )
    time.sleep(seconds)


def _failed(run: Run, group: tuple[Step, ...], error: BaseException) -> StepFailed:
    run.journal.record(
        "migration_failed", migrations=_keys(group), error=_text(error), own_rows=run.own_rows
    )
    return StepFailed(f"{', '.join(map(str, group))} failed: {_text(error)}")


def _keys(group: tuple[Step, ...]) -> list[Key]:
    return [step.key for step in group]


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip()
