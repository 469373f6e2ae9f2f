"""One worker of a backfill: take a range, write it, until nothing is left.

How another operation fills columns of its own:

    fill(
        change.connection,
        Filling(
            table="reisekosten_fahrt",
            key_columns=("id",),
            assignments={"erstattung": Sql('round("km" * %s, 2)', (Decimal("0.30"),))},
            where=Sql('"erstattung" IS NULL'),
        ),
    )

The connection must be in no transaction (`atomic = False` in the migration). After a kill the same
call goes on where it stopped. While it runs it is seen in `backfill list`, where it can be paused;
in the end it leaves no trace. Rows inserted meanwhile are the business of a trigger or of new code.
"""

import random
import time
from contextlib import suppress

from django.db import DatabaseError, Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.advice import manage
from deploy_ops.databases import database_for
from deploy_ops.errors import (
    BackfillBlocked,
    BackfillCancelled,
    BackfillError,
    BackfillFailed,
    BackfillRefused,
)
from deploy_ops.phases.backfill.entry import forget_filling, name_of
from deploy_ops.phases.backfill.filling import Filling
from deploy_ops.phases.backfill.ledger import Given, Ledger, Taken
from deploy_ops.phases.backfill.pace import Pace, pause_after
from deploy_ops.phases.backfill.pressure import Limits, look
from deploy_ops.phases.backfill.updatable import why_not_updatable
from deploy_ops.phases.backfill.write import write_range
from deploy_ops.phases.locks import is_lost_race, without_timeouts
from deploy_ops.progress import Progress, listener
from deploy_ops.redact import error_text

LOOK_EVERY_SECONDS = 1.0
PAUSE_SECONDS = 1.0
POLL_SECONDS = 0.05


def fill(
    connection: BaseDatabaseWrapper,
    filling: Filling,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
    is_checked: bool = False,
) -> int:
    """Fill the columns, and forget how far it was; return how many rows were written.

    `is_checked` looks afterwards for a row that is still to be written, which a trigger or a rule
    of the table has kept as it was; raises BackfillFailed.

    What was filled before a kill counts for the same columns only: ones of the same name that were
    made anew since are filled from the beginning.
    """
    name = name_of(connection, filling)
    written = run(connection, name, filling, progress=progress, limits=limits)
    forget_filling(connection, filling)
    if is_checked:
        _check_filled(connection, filling)
    return written


def _check_filled(connection: BaseDatabaseWrapper, filling: Filling) -> None:
    quote = connection.ops.quote_name
    keys = ", ".join(map(quote, filling.key_columns))
    sql = f"SELECT {keys} FROM {quote(filling.table)} WHERE {filling.where.text} LIMIT 1"
    with without_timeouts(connection), connection.cursor() as cursor:
        cursor.execute(sql, filling.where.params)
        row = cursor.fetchone()
    if row is not None:
        pairs = zip(filling.key_columns, row, strict=True)
        key = " and ".join(f"{name} = {value}" for name, value in pairs)
        raise BackfillFailed(
            f"{filling}: the row {key} was not written, or was changed back since: by a trigger or "
            "a rule of the table, or by a session with triggers off. New code would read a wrong "
            "value there. Rows that were written stay written. Find and stop what does it, then "
            "run the same again."
        )


def run(
    connection: BaseDatabaseWrapper,
    name: str,
    filling: Filling,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> int:
    """Work until all is written, beside any number of other workers; return the number of rows."""
    worker = _worker(connection, name, filling, limits or Limits.of_settings())
    return worker.run(progress or listener())


def run_for(
    connection: BaseDatabaseWrapper, name: str, filling: Filling, limits: Limits, seconds: float
) -> Given:
    """Work for about so long, and wait for nothing; RANGE if there is more, WAIT if not at once."""
    return _worker(connection, name, filling, limits).run_for(seconds)


def _worker(
    connection: BaseDatabaseWrapper, name: str, filling: Filling, limits: Limits
) -> "_Worker":
    if connection.in_atomic_block:
        raise BackfillRefused(
            f"The backfill of {filling} commits each batch, which is not possible inside a "
            "transaction: that would keep all rows locked until it ends. Nothing was changed. "
            "Write into the migration:\n"
            "    atomic = False"
        )
    check_writes_all(connection, filling)
    return _Worker(connection, Ledger(connection, name, filling), filling, limits)


def check_writes_all(connection: BaseDatabaseWrapper, filling: Filling) -> None:
    """Raise BackfillRefused where policies may hide rows, or none can be written at all."""
    if why := why_not_updatable(connection, filling.table, filling.columns[0]):
        raise BackfillRefused(f"The backfill of {filling} cannot run: {why}")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT row_security_active(to_regclass(%s)), quote_ident(current_user)",
            [connection.ops.quote_name(filling.table)],
        )
        is_active, role = cursor.fetchone()
    if is_active:
        raise BackfillRefused(
            f"{filling.table} has row level security, which may hide rows from {role}; hidden rows "
            "would not be filled. Nothing was changed now. Migrate as a role that sees all rows:\n"
            f"    ALTER ROLE {role} BYPASSRLS"
        )


class _Worker:
    def __init__(
        self, connection: BaseDatabaseWrapper, ledger: Ledger, filling: Filling, limits: Limits
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._filling = filling
        self._limits = limits
        self._pace = Pace()
        self._next_look = 0.0
        self._last_success = time.monotonic()
        self._said = ""

    def run(self, progress: Progress) -> int:
        """The loop."""
        total = self._ledger.begin()
        with progress.track_rows(self._ledger.name, total) as report:
            while (given := self._step()) is not Given.DONE:
                report(self._ledger.rows_read)
                self._after(given, progress)
        return self._ledger.rows_written()

    def run_for(self, seconds: float) -> Given:
        """The loop, for so long; what to wait for is left to the caller."""
        self._ledger.begin()
        end = time.monotonic() + seconds
        reasons = self._reasons()
        self._ledger.note_waiting(reasons)
        if reasons:
            return Given.WAIT
        while (given := self._step()) is Given.RANGE and time.monotonic() < end:
            pass
        return given

    def _after(self, given: Given, progress: Progress) -> None:
        if given is Given.RANGE:
            self._said = ""
            self._yield_to_others(progress)
        elif given is Given.WAIT:
            patience, waited = self._limits.patience_seconds, time.monotonic() - self._last_success
            if patience is not None and waited > patience:
                raise self._blocked(patience)
            time.sleep(POLL_SECONDS)
        elif given is Given.CANCELLED:
            raise BackfillCancelled(
                f"{self._ledger.name}: the backfill was cancelled. The batches before that are "
                "committed; the other rows are as they were. To go on after all:\n"
                + manage("backfill", "resume", self._ledger.name, alias=self._connection.alias)
            )
        else:
            self._last_success = time.monotonic()
            self._wait(f"{self._ledger.name}: paused", progress)

    def _step(self) -> Given:
        """One transaction: write a range and give out the next one, or only give one out."""
        taken: Taken | None = None
        started = time.monotonic()
        try:
            with transaction.atomic(self._connection.alias):
                taken = self._ledger.take()
                if taken is None:
                    return self._ledger.give_out(self._pace.rows)
                rows = write_range(self._connection, self._ledger.statements, taken.range)
                self._ledger.note_written(taken, rows)
                seconds = time.monotonic() - started
                self._pace.learn(taken.rows, seconds)
                given = self._ledger.give_out(self._pace.rows, wait=False)
        except BackfillError:
            raise
        except Exception as error:  # pylint: disable=broad-exception-caught  # code of migrations
            if not is_lost_race(error):
                raise self._failed(taken, error) from error
            self._put_off(taken)
            return Given.WAIT
        self._last_success = time.monotonic()
        if rest := pause_after(taken.rows, seconds, self._limits.rows_per_second):
            time.sleep(rest)
        return Given.DONE if given is Given.DONE else Given.RANGE

    def _put_off(self, taken: Taken | None) -> None:
        """Somebody has locked a row, or the table: what is not locked goes on first."""
        if taken is None:
            return
        try:
            with transaction.atomic(self._connection.alias):
                if self._ledger.relock(taken):
                    self._ledger.put_off(taken, random.uniform(0.5, 1.5))
        except DatabaseError as error:
            if not is_lost_race(error):
                raise

    def _yield_to_others(self, progress: Progress) -> None:
        """Wait while the server has more important things to do."""
        if time.monotonic() < self._next_look:
            return
        noted = ""
        while reasons := self._reasons():
            if reasons != noted:
                self._ledger.note_waiting(noted := reasons)
            self._last_success = time.monotonic()
            self._wait(f"{self._ledger.name} waits: {reasons}", progress)
        if noted:
            self._ledger.note_waiting("")
        self._next_look = time.monotonic() + LOOK_EVERY_SECONDS

    def _reasons(self) -> str:
        """Why to wait; nothing if the backfill is stopped anyway, which the next step will see."""
        if self._ledger.is_stopped():
            return ""
        return ", ".join(look(self._connection, self._filling.table).reasons(self._limits))

    def _wait(self, text: str, progress: Progress) -> None:
        if text != self._said:
            progress.say(text)
        self._said = text
        time.sleep(PAUSE_SECONDS)

    def _failed(self, taken: Taken | None, error: Exception) -> BackfillFailed:
        cause = f"{type(error).__name__}: {error_text(error)}"
        self._keep(cause)
        where = f" of keys {taken.range}" if taken else ""
        return BackfillFailed(
            f"{self._ledger.name}: a batch{where} failed: {cause}\n"
            "Nothing of that batch was written; those before it are committed. Once the cause is "
            "fixed, run the same again: it goes on there."
        )

    def _blocked(self, patience_seconds: float) -> BackfillBlocked:
        holders = database_for(self._connection.alias).lock_holders([self._filling.table])
        held = ", ".join(holders) or "none any more"
        self._keep("rows are locked by somebody else")
        return BackfillBlocked(
            f"{self._ledger.name}: rows of {self._filling.table}, or all of it, stayed locked by "
            f"other sessions for {patience_seconds:g} s. Sessions with locks on it "
            f"now: {held}.\n"
            "Batches that were written are committed. Once the locks are gone, running the same "
            "again writes the rest."
        )

    def _keep(self, text: str) -> None:
        """Write down what happened, if the database is still there."""
        with suppress(Error), transaction.atomic(self._connection.alias):
            self._ledger.note_error(text)
