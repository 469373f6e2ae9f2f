"""Run a plan with Django's own executor, one or some migrations in each transaction of ours.

A migration that refuses a transaction runs as Django runs it, once: repeating what may have
committed a part of itself is not safe.
"""

import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from deploy_ops.errors import (
    JournalFailed,
    MigrationFailed,
    NotLossless,
    TransactionEnded,
    TransactionLeftOpen,
)
from deploy_ops.migrate.leftovers import Before, look_at_leftovers, note_before
from deploy_ops.migrate.plan import Key, Step
from deploy_ops.migrate.run import Applied, Failure, Remains, Run
from deploy_ops.migrate.session import (
    is_left_open,
    lock_failure,
    lock_holders,
    reset_connection,
)
from deploy_ops.migrate.transaction import StepTransaction
from deploy_ops.migrate.undoing import Undoing
from deploy_ops.phases.waiting import run_contract
from deploy_ops.redact import error_text

LONGEST_PAUSE_SECONDS = 1.0
MANY = 3  # names of migrations in a sentence
OUTWAIT_EVERY = 10  # tries; a vacuum against wraparound does not give way
Work = Callable[[], None]


def apply_plan(run: Run, groups: Iterable[tuple[Step, ...]]) -> None:
    """Apply the plan, group by group; raises MigrationFailed, and `run` tells what is committed."""
    do = _undo if run.plan.is_way_back else _apply
    try:
        for group in groups:
            run.lock.check()
            if do(run, group).was_interrupted:
                raise KeyboardInterrupt
        run.history.executor.check_replacements()
    except KeyboardInterrupt as error:  # between two steps, or in the pause before a retry
        raise MigrationFailed("Stopped by the operator between two migrations.") from error


def _apply(run: Run, group: tuple[Step, ...]) -> Applied:
    return perform(run, group, _moves(run, group), then=run.applied.append)


def _undo(run: Run, group: tuple[Step, ...]) -> Applied:
    """Undo what earlier runs have applied; raises NotLossless, MigrationFailed."""
    undoing, is_atomic = Undoing(run, group, frozenset()), group[0].is_atomic
    work = undoing.work if is_atomic else undoing.unapply
    applied = perform(run, group, work, then=run.applied.append)
    run.result.kept_tables += undoing.kept
    if is_atomic and applied.rows is None and run.database.counts_rows:
        raise NotLossless("the reverse used other connections, and what it did is not known.")
    return applied


def _moves(run: Run, group: tuple[Step, ...]) -> Work:
    def work() -> None:
        for step in group:
            run.at_work = step
            _move(run, step)
            # Deferred ones fail here, with their step; with one step alone COMMIT does the same.
            if len(group) > 1:
                run.database.check_deferred_constraints()
        run.at_work = None

    return work


def _move(run: Run, step: Step) -> None:
    if step.contract is not None:
        run_contract(run.connection, step.contract)
    elif step.backwards:
        run.history.unapply(step)
    else:
        run.history.apply(step)


def perform(
    run: Run, group: tuple[Step, ...], work: Work, *, then: Callable[[Applied], None]
) -> Applied:
    """Do the work of some steps; after a lost race for a lock again, if the first try is undone.

    `then` notes what is committed, before anything else can fail. Raises MigrationFailed, and then
    `run.failure` says what it left.
    """
    may_try = group[0].is_atomic or group[0].is_idempotent
    tries = run.request.lock_retries + 1 if may_try else 1
    for attempt in range(1, tries + 1):
        started, run.at_work = time.monotonic(), None
        with _patience(run, group, attempt):
            error, outcome = _attempt(run, group, work)
        if isinstance(outcome, Applied):
            applied = replace(outcome, was_interrupted=isinstance(error, KeyboardInterrupt))
            then(applied)
            run.begun = ()
            if _runs_code(group):
                run.prepare()  # whatever lock_timeout it has SET
            _succeeded(run, group, time.monotonic() - started)
            if error is not None and applied.has_put_off and not applied.was_interrupted:
                raise MigrationFailed(
                    f"{names(group)} is committed, but what its code had put off until then "
                    f"(transaction.on_commit) failed: {text_of(error)}"
                ) from error
            return applied
        is_undone = outcome.remains is Remains.NOTHING or group[0].is_idempotent
        may_repeat = is_undone and lock_failure(error) is not None
        if attempt == tries or not may_repeat:
            raise _failed(run, outcome, error) from error
        run.begun = ()
        _pause(run, group, attempt, error)
        run.history.rewind()
    raise AssertionError("the last try returns or raises")


def _attempt(
    run: Run, group: tuple[Step, ...], work: Work
) -> tuple[BaseException | None, Applied | Failure]:
    """Try once; return the error, and what was committed or what the failure left."""
    if group[0].is_atomic:
        return _attempt_in_transaction(run, group, work)
    return _attempt_without_transaction(run, group[0], work)


def _attempt_in_transaction(
    run: Run, group: tuple[Step, ...], work: Work
) -> tuple[BaseException | None, Applied | Failure]:
    step, files = StepTransaction(run, group), WatchedFiles(run, group)
    caught: BaseException | None = None
    try:
        with step.open():
            work()
            files.look_again()
    # Ctrl-C too must leave a healthy session and a record.
    except BaseException as error:  # pylint: disable=broad-exception-caught
        _reset(run, group)
        caught = error
    run.add_own_rows(step.rows)
    if isinstance(caught, JournalFailed):
        raise caught
    if caught is None or step.is_committed():
        return caught, Applied(group, step.rows, files.have_changed, step.has_put_off)
    return caught, step.failure()


class WatchedFiles:
    """Files and columns of the tables around a step that runs code.

    TRUNCATE changes the file and no row, dropping a column neither.
    """

    def __init__(self, run: Run, group: tuple[Step, ...]) -> None:
        self._run = run
        self._is_needed = _runs_code(group)
        self._before = run.database.relations() if self._is_needed else {}
        self.have_changed = self._is_needed

    def look_again(self) -> None:
        """Compare, at the end of the step."""
        if self._is_needed:
            after = self._run.database.relations()
            self.have_changed = any(
                oid not in after
                or after[oid].file != each.file
                or not each.columns.keys() <= after[oid].columns.keys()
                for oid, each in self._before.items()
            )


def _attempt_without_transaction(
    run: Run, step: Step, work: Work
) -> tuple[BaseException | None, Applied | Failure]:
    before = note_before(run.database, step)
    run.begun = (step,)
    run.journal.record(
        "migration_started",
        migrations=[step.key],
        backwards=step.backwards,
        is_atomic=False,
        is_idempotent=step.is_idempotent,
        before=before.as_json(),
    )
    run.add_own_rows(None)  # what it writes in transactions of its own is not counted
    try:
        work()
        if is_left_open(run.database):
            raise TransactionLeftOpen
    except JournalFailed:
        raise
    except BaseException as error:  # pylint: disable=broad-exception-caught
        _reset(run, (step,))
        return error, _leftovers(run, step, before)
    return None, Applied((step,), None, have_changed_files=True)


def _reset(run: Run, group: tuple[Step, ...]) -> None:
    reset_connection(run.database, run.prepare, after_code=_runs_code(group))


def _runs_code(group: tuple[Step, ...]) -> bool:
    return any(step.runs_code for step in group)


def _leftovers(run: Run, step: Step, before: Before) -> Failure:
    found = look_at_leftovers(run.database, before)
    for index in found.dropped:
        run.journal.record("invalid_index_dropped", index=index)
        run.progress.say(f"Dropped the invalid index {index} that the failed build left")
    remains = Remains.NOTHING if found.left_nothing else Remains.UNKNOWN
    return Failure((step,), remains, found.evidence)


def _succeeded(run: Run, group: tuple[Step, ...], seconds: float) -> None:
    seconds = round(seconds, 3)
    # With its transaction's number in the journal, the database vouches for an atomic step.
    is_durable = not group[0].is_atomic
    run.journal.record(
        "migration_applied", durably=is_durable, migrations=keys(group), seconds=seconds
    )
    verb = "Reversed" if group[0].backwards else "Applied"
    for step in group[:-1]:
        run.progress.say(f"{verb} {step}")
    together = f", {len(group)} in one transaction" if len(group) > 1 else ""
    run.progress.say(f"{verb} {group[-1]} ({seconds} s{together})")


def _patience(run: Run, group: tuple[Step, ...], attempt: int) -> AbstractContextManager[bool]:
    """Now and then wait longer than else, where a vacuum is in the way."""
    if attempt % OUTWAIT_EVERY != 2:
        return nullcontext(False)
    return run.database.outwaiting_vacuum({table for step in group for table in step.tables})


def _pause(run: Run, group: tuple[Step, ...], attempt: int, error: BaseException | None) -> None:
    """Let the queue drain: idle at least as long as we made others wait, with jitter."""
    shortest = run.request.lock_timeout.total_seconds()
    ceiling = min(LONGEST_PAUSE_SECONDS, shortest * 2 ** (attempt - 1))
    seconds = max(shortest, random.uniform(0.5, 1.0) * ceiling)
    holders = lock_holders(run.database, {table for step in group for table in step.tables})
    run.journal.record("migration_retried", migrations=keys(group), error=text_of(error))
    run.progress.say(
        f"{run.at_work or between(group)}: {lock_failure(error)}{holders}; rolled back, "
        f"retry {attempt} of {run.request.lock_retries} in {seconds:.1f} s"
    )
    time.sleep(seconds)


def _failed(run: Run, failure: Failure, error: BaseException | None) -> MigrationFailed:
    run.failure, run.begun = failure, ()
    run.journal.record(
        "migration_failed",
        migrations=keys(failure.steps),
        error=text_of(error),
        remains=failure.remains,
        evidence=failure.evidence,
    )
    hint = f"\n{TransactionEnded()}" if failure.ended_transaction else ""
    what = run.at_work or between(failure.steps)  # all of them, where COMMIT failed
    return MigrationFailed(f"{what} failed: {text_of(error)}{hint}")


def keys(group: tuple[Step, ...]) -> list[Key]:
    """The migrations of some steps, as in django_migrations."""
    return [step.key for step in group]


def names(group: tuple[Step, ...]) -> str:
    """The migrations of some steps, as people read them."""
    return ", ".join(map(str, group))


def between(group: tuple[Step, ...]) -> str:
    """The migrations of one transaction, in as many words as a person reads."""
    is_many = len(group) > MANY
    return f"{group[0]} to {group[-1]} ({len(group)} migrations)" if is_many else names(group)


def text_of(error: BaseException | None) -> str:
    """The error for journal and operator, without secrets and statements."""
    return f"{type(error).__name__}: {error_text(error)}" if error is not None else ""
