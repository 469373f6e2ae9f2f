"""How a second column of another type takes the place of the first one.

It is filled, kept right and indexed beside it. Then the first column is dropped and the second gets
its name in one transaction, with all that hung on the first: its constraints and indexes under
their names, its default, its comment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy_ops.errors import BackfillFailed, NotOnline, RowsInTheWay
from deploy_ops.phases.backfill import fill
from deploy_ops.phases.backfill.entry import forget_filling
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.column_facts import Facts, column_exists, facts_of, has_type
from deploy_ops.phases.operations.column_steps import AddColumn, AddTrigger, DropColumn
from deploy_ops.phases.operations.reach import check_fillable
from deploy_ops.phases.operations.second_column import SecondColumn
from deploy_ops.phases.operations.steps import Statement, Step, run_unhurried, run_whole
from deploy_ops.phases.operations.twins import name_twin, proof_steps, twin_steps
from deploy_ops.phases.triggers import drop_trigger

_BAD_VALUE = ("22", "23")  # classes of SQLSTATE: data exception, integrity constraint violation


def expand_steps(second: SecondColumn) -> Sequence[Step]:
    """What makes the second column, while the first one stays."""
    if not second.is_collected and not column_exists(
        second.change, second.table, second.old.column
    ):
        return []
    return [*_filled(second), *_indexed(second)]


def undo_steps(second: SecondColumn) -> Sequence[Step]:
    """What drops the second column again, unless something is in it alone."""
    return [UndoSecond(tables=(second.table,), column=second.column, second=second)]


def replace_steps(second: SecondColumn) -> Sequence[Step]:
    """What puts the second column in the place of the first one; nothing once that is done."""
    if not second.is_collected and _is_replaced(second):
        return []
    tables = (second.table,)
    return [
        *([] if second.is_written else _filled(second)),
        *_indexed(second),
        *_proof(second),
        Analyze(tables=tables, column=second.column),
        Swap(tables=tables, second=second),
    ]


def _filled(second: SecondColumn) -> list[Step]:
    tables, table = (second.table,), second.change.quote(second.table)
    statement = Statement(f"ALTER TABLE {table} ADD COLUMN {second.definition}")
    return [
        AddColumn(tables=tables, column=second.column, statement=statement),
        AddTrigger(tables=tables, trigger=second.trigger),
        FillSecond(tables=tables, second=second),
    ]


def _indexed(second: SecondColumn) -> Iterator[Step]:
    return twin_steps(second.change, second.table, second.dependents, second.twin)


def _proof(second: SecondColumn) -> Iterator[Step]:
    """NOT NULL, which then reads no row; and that no row was left out. It goes with the column."""
    column = second.change.quote(second.column)
    parts = [f"{column} IS NOT NULL"] if second.is_not_null else []
    condition = " AND ".join([*parts, second.agrees()])
    return proof_steps(second.change, second.table, second.proof, condition)


def _is_replaced(second: SecondColumn) -> bool:
    change, table = second.change, second.table
    if second.is_written or second.old.column != second.new.column:
        return not column_exists(change, table, second.old.column)
    if not column_exists(change, table, second.old.column):
        raise NotOnline(
            f"{table} has no column {second.old.column} any more, whose type was to change. "
            "Nothing was changed. If it was renamed since, change its type by a migration "
            "under its new name."
        )
    return not column_exists(change, table, second.column) and has_type(change, table, second.new)


def check_swap(step: Step, change: Change) -> None:
    """Raise NotOnline for partitioned tables."""
    step.refuse_partitioned(change, "change the type of a column")


@dataclass(frozen=True, kw_only=True)
class FillSecond(Step):
    """Write the second column of the rows that are there, in batches."""

    second: SecondColumn
    needs_no_transaction = True

    def check(self, change: Change) -> None:
        """Refuse tables of which no row can be updated, or whose columns cannot be swapped then."""
        check_swap(self, change)
        if not self.is_done(change):
            check_fillable(change, self.table, self.second.old.column)

    def is_done(self, change: Change) -> bool:
        """Whether it was proven already."""
        return self.catalog(change).is_validated(self.second.proof) is True

    def work(self, change: Change) -> None:
        """Fill it. Where a value does not fit nothing is left that would reject writes."""
        second, quote = self.second, change.quote
        if change.editor.collect_sql:
            column = quote(second.column)
            change.execute(
                f"UPDATE {quote(self.table)} SET {column} = {second.forwards()}"
                f" WHERE {second.differs()}"
            )
            return
        try:
            fill(change.connection, second.filling, is_checked=True)
        except BackfillFailed as error:
            state = getattr(getattr(error.__cause__, "__cause__", None), "sqlstate", None) or ""
            if not state.startswith(_BAD_VALUE):
                raise
            DropSecond(tables=self.tables, column=second.column, second=second).run(change)
            raise RowsInTheWay(
                f"A value of {self.table}.{second.old.column} does not fit into its new type: "
                f"{error}\nThe type is as it was, and the column that was to replace it was "
                "dropped again. Correct the rows, and migrate again."
            ) from error


@dataclass(frozen=True, kw_only=True)
class DropSecond(DropColumn):
    """Drop the second column, its trigger, and the progress of filling it."""

    second: SecondColumn

    def is_done(self, change: Change) -> bool:
        """Each of them is looked for."""
        return False

    def work(self, change: Change) -> None:
        """Drop them."""
        drop_trigger(change, self.second.trigger)
        if change.editor.collect_sql or not super().is_done(change):
            super().work(change)
        if not change.editor.collect_sql:
            forget_filling(change.connection, self.second.filling)


@dataclass(frozen=True, kw_only=True)
class UndoSecond(DropSecond):
    """The same where others have written it: first a look, behind the lock."""

    def work(self, change: Change) -> None:
        """All of it in one transaction."""
        run_whole(change, self.tables, lambda: self._look_and_drop(change))

    def _look_and_drop(self, change: Change) -> None:
        if column_exists(change, self.table, self.column):
            self.second.doubled.check(change.connection)
        super().work(change)


@dataclass(frozen=True, kw_only=True)
class Analyze(Step):
    """Let the planner know the values before queries meet them."""

    column: str
    needs_no_transaction = True

    def is_done(self, change: Change) -> bool:
        """Idempotent: ANALYZE may run again."""
        return False

    def work(self, change: Change) -> None:
        """Read some rows."""
        run_unhurried(change, f"ANALYZE {change.quote(self.table)} ({change.quote(self.column)})")


@dataclass(frozen=True, kw_only=True)
class Swap(Step):
    """Drop the first column, and give its names to the second and to all that hangs on it."""

    second: SecondColumn
    needs_no_transaction = True

    def check(self, change: Change) -> None:
        """Refuse partitioned tables."""
        check_swap(self, change)

    def is_done(self, change: Change) -> bool:
        """There would be no steps."""
        return False

    def work(self, change: Change) -> None:
        """All of it in one transaction."""
        run_whole(change, self.tables, lambda: self._swap(change))

    def _swap(self, change: Change) -> None:
        second, quote = self.second, change.quote
        table = f"ALTER TABLE {quote(self.table)}"
        facts = facts_of(change, self.table, second.old.column)
        drop_trigger(change, second.trigger)
        if second.is_not_null:
            change.execute(f"{table} ALTER COLUMN {quote(second.column)} SET NOT NULL")
        change.execute(f"{table} DROP COLUMN {quote(second.old.column)}")
        if second.column != second.new.column:
            change.execute(
                f"{table} RENAME COLUMN {quote(second.column)} TO {quote(second.new.column)}"
            )
        for each in second.dependents:
            name_twin(change, self.table, each, second.twin(each.name))
        self._take_over(change, facts)

    def _take_over(self, change: Change, facts: Facts) -> None:
        """Default, comment, what statistics are told, and the name of NOT NULL (PostgreSQL 18)."""
        table, column = change.quote(self.table), change.quote(self.second.new.column)
        alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
        if facts.default is not None:
            change.execute(f"{alter} SET DEFAULT {facts.default}")
        if facts.statistics is not None:
            change.execute(f"{alter} SET STATISTICS {facts.statistics}")
        if facts.options is not None:
            change.execute(f"{alter} SET ({facts.options})")
        if facts.comment is not None:
            comment = change.editor.quote_value(facts.comment)
            change.execute(f"COMMENT ON COLUMN {table}.{column} IS {comment}")
        if facts.not_null is not None:
            now = facts_of(change, self.table, self.second.new.column).not_null
            if now is not None and now != facts.not_null:
                names = f"{change.quote(now)} TO {change.quote(facts.not_null)}"
                change.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {names}")
