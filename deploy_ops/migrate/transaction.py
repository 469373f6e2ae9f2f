"""One transaction around a step, and the proof of what became of it.

The outer transaction takes in the row of django_migrations, which Django itself writes after the
commit when there is deferred SQL (docs/decisions/0005): a step is recorded and done, or neither.
Its number is in the journal before its first statement, and on the disk before its COMMIT (before
any code of the project), so that the database can be asked for it after any failure, by this
process or by the next run.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.backends.signals import connection_created

from deploy_ops.databases.base import Ended, Outcome, RowCounts
from deploy_ops.errors import TransactionEnded
from deploy_ops.migrate.plan import Step, ends_transaction
from deploy_ops.migrate.recorded import recorded
from deploy_ops.migrate.run import Failure, Remains, Run

OUTCOME_TRIES = 50
OUTCOME_PAUSE_SECONDS = 0.2


class StepTransaction:
    """The transaction of some steps; the only user of Database.begin and what follows it."""

    def __init__(self, run: Run, steps: tuple[Step, ...]) -> None:
        self._run = run
        self._steps = steps
        self._number: str | None = None
        self._transactions = run.database.transactions
        self._has_left = False
        self._had_company = False
        self.has_put_off = False
        self.ended: Ended | None = None

    @property
    def rows(self) -> RowCounts | None:
        """Rows that it changed, after its COMMIT too; None if that is not known."""
        is_all = self.ended is not None and not (self._had_company or self.has_put_off)
        return self.ended.rows if is_all and self.ended else None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the transaction; raises TransactionEnded if the block ended it itself."""
        run = self._run
        with run.database.schema_changes_in_transaction(), transaction.atomic(run.alias):
            self._number = self._transactions.begin()
            run.begun = self._steps
            run.journal.record(
                "migration_started",
                # Code can commit behind our back; all else waits for the disk at its end.
                durably=any(step.runs_code for step in self._steps),
                migrations=[step.key for step in self._steps],
                backwards=self._steps[0].backwards,
                is_atomic=True,
                transaction=self._number,
            )
            with run.journal.on_disk_at_the_end(), self._watched(self._number):
                yield

    @contextmanager
    def _watched(self, number: str) -> Iterator[None]:
        """Let the block work, and look at the transaction after it."""
        run = self._run
        with self._noted_company(), run.connection.execute_wrapper(self._watch):
            try:
                yield
            except BaseException:
                self.ended = self._transactions.after_failure(number)
                raise
        self.has_put_off = bool(run.connection.run_on_commit)
        self.ended = self._transactions.before_commit(number)
        if self.ended.is_same is False:
            raise TransactionEnded

    @contextmanager
    def _noted_company(self) -> Iterator[None]:
        """Write down that code has other connections, before it does anything over them."""

        def note(**_: object) -> None:
            if not self._had_company and self._transactions.had_company():
                self._had_company = True
                self._run.journal.record("transaction_left", transaction=self._number)

        note()
        connection_created.connect(note, weak=False)
        try:
            yield
        finally:
            connection_created.disconnect(note)

    def _watch(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        """Write down that the transaction was left before anything is done outside it."""
        if not self._has_left and self._leaves(sql):
            self._has_left = True
            self._run.journal.record("transaction_left", transaction=self._number)
        return execute(sql, params, many, context)

    def _leaves(self, sql: Any) -> bool:
        is_open = self._transactions.is_in_transaction()
        return not is_open or (isinstance(sql, str) and ends_transaction(sql))

    def is_committed(self) -> bool:
        """Whether it committed with all its records, although an error came up on the way."""
        if self._number is None or self._is_left or self.ended is None:
            return False
        return self._outcome() is Outcome.COMMITTED and self._is_recorded()

    def failure(self) -> Failure:
        """Ask the database what became of it."""
        if self._number is None:
            return self._failed(Remains.NOTHING, "its transaction had not begun")
        if self._is_left:
            self._transactions.forget(self._number)
            evidence = "it ended the transaction that it was run in"
            return Failure(self._steps, Remains.UNKNOWN, evidence, ended_transaction=True)
        if self._had_company:
            evidence = "its code had other connections to the database too"
            return self._failed(Remains.UNKNOWN, evidence)
        outcome = self._outcome()
        if proof := self._transactions.abort_evidence(self._number, outcome):
            return self._failed(Remains.NOTHING, proof)
        self._transactions.forget(self._number)
        return self._failed(Remains.UNKNOWN, f"its transaction is {outcome}")

    @property
    def _is_left(self) -> bool:
        return self._has_left or (self.ended is not None and self.ended.is_same is False)

    def _outcome(self) -> Outcome:
        """Ask until it is final: a server process may still be ending the transaction."""
        assert self._number is not None
        for _ in range(OUTCOME_TRIES):
            outcome = self._transactions.outcome(self._number)
            if outcome is not Outcome.IN_PROGRESS:
                break
            time.sleep(OUTCOME_PAUSE_SECONDS)
        return outcome

    def _is_recorded(self) -> bool:
        done = recorded(self._run.connection)
        return all((step.key in done) != step.backwards for step in self._steps)

    def _failed(self, remains: Remains, evidence: str) -> Failure:
        return Failure(self._steps, remains, evidence)
