"""Undoing what this run applied, newest first, only if nothing is lost by it.

All of it happens in one transaction with the tables locked: rows are looked at, not counters, and
between looking and dropping nobody can write. New tables that have rows are copied to a kept table
first. Whatever cannot be shown to lose nothing raises NotLossless, and the transaction rolls back.
A step that only builds indexes concurrently holds no rows and is undone by itself.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from deploy_ops.databases.base import Relation, RowCounts
from deploy_ops.errors import NotLossless
from deploy_ops.migrate.apply import perform
from deploy_ops.migrate.plan import Step, effects_after
from deploy_ops.migrate.reversal import Effect, NewColumn, NewTable, Reversal, WiderColumn
from deploy_ops.migrate.run import Applied, History, Run
from deploy_ops.phases.rows import TABLE as CONTRACT_ROWS


def obstacles(run: Run) -> Iterator[str]:
    """Why undoing what this run applied is not lossless, as far as it can be told beforehand."""
    new = {each.table for each in effects_after(run.applied_steps) if isinstance(each, NewTable)}
    for group in run.applied:
        for step in group.steps:
            if why := _obstacle(run, step, group, new):
                yield why


def _obstacle(run: Run, step: Step, group: Applied, new_tables: set[str]) -> str | None:
    if step.backwards:
        return f"{step} was itself a reverse migration."
    if not step.is_atomic and step.indexes is None:
        return f"{step} runs without a transaction."
    if step.reversal not in (Reversal.LOSSLESS, Reversal.UNPROVEN):
        return f"reversing {step} is {step.reversal}."
    is_unproven = step.reversal is Reversal.UNPROVEN
    if is_unproven and (
        group.rows is None or group.have_changed_files or not run.database.counts_rows
    ):
        return f"{step} runs code, and what that changed is not known."
    if others := _other_tables(run, step, group.rows or {}, new_tables):
        how = "runs code that changed" if step.runs_code else "made triggers change"
        return f"{step} {how} rows of {', '.join(others)}."
    return None


def _other_tables(run: Run, step: Step, rows: RowCounts, new_tables: set[str]) -> list[str]:
    """Tables that are not dropped again, and whose rows nobody gives back."""
    database, relations = run.database, run.database.relations()
    own = database.partitions_of(bookkeeping(step))
    own |= {oid for oid, each in relations.items() if each.name in new_tables} - run.tables_before
    return sorted(relations[oid].name for oid in rows.keys() & relations.keys() - own)


def bookkeeping(*steps: Step) -> list[str]:
    """Tables that migrating itself writes to, and undoing gives back."""
    if any(step.runs_code for step in steps):
        return ["django_migrations", CONTRACT_ROWS]
    return [
        "django_migrations",
        CONTRACT_ROWS,
        "django_content_type",
    ]  # renamed with its model, and back


def undo(run: Run) -> list[str]:
    """Undo every step that this run applied; return the names of the kept tables.

    Raises NotLossless or MigrationFailed; then `run.applied` has what is still applied.
    """
    kept: list[str] = []
    run.history = History.read(run.connection)
    for is_atomic, steps in groupby(reversed(run.applied_steps), lambda step: step.is_atomic):
        for group in [tuple(steps)] if is_atomic else [(step,) for step in steps]:
            backwards = tuple(replace(step, backwards=True) for step in group)
            undoing = Undoing(run, group)
            work = undoing.work if is_atomic else undoing.unapply
            undone = perform(run, backwards, work, then=_forget(run, group))
            if is_atomic and undone.rows is None and run.database.counts_rows:
                raise NotLossless(
                    "the reverse used other connections, and what it did is not known."
                )
            kept += undoing.kept
    return kept


def _forget(run: Run, group: tuple[Step, ...]) -> Callable[[Applied], None]:
    def forget(_undone: Applied) -> None:
        run.applied = [each for each in run.applied if each.steps[0] not in group]

    return forget


class Undoing:
    """Undoing some steps (newest first) that one transaction can hold."""

    def __init__(self, run: Run, steps: tuple[Step, ...]) -> None:
        self._run = run
        self._steps = steps
        self._effects = effects_after(reversed(steps))
        self.kept: list[str] = []

    def unapply(self) -> None:
        """Let Django undo them."""
        for step in self._steps:
            self._run.history.unapply(step)

    def work(self) -> None:
        """Lock, look, keep, undo, and look again before anything is committed."""
        database = self._run.database
        tables = sorted({effect.table for effect in self._effects})
        if unknown := [table for table in tables if not database.has_table(table)]:
            raise NotLossless(f"{', '.join(unknown)} is not there any more under this name.")
        database.lock_tables(tables)
        self.kept = [kept for table in self._new_tables() if (kept := database.keep_rows(table))]
        for effect in self._effects:
            self._look_at(effect)
        elsewhere = Elsewhere(self._run, self._effects, self._steps)
        self.unapply()
        elsewhere.check()
        if self._run.connection.run_on_commit:
            raise NotLossless("the reverse puts work off until its transaction is committed.")

    def _new_tables(self) -> list[str]:
        return [each.table for each in self._effects if isinstance(each, NewTable)]

    def _look_at(self, effect: Effect) -> None:
        if isinstance(effect, NewColumn) and self._has_values(effect):
            raise NotLossless(
                f"{effect.table}.{effect.column} was added by this run, and rows have values in it."
            )
        if isinstance(effect, WiderColumn) and self._exceeds(effect):
            raise NotLossless(
                f"{effect.table}.{effect.column} has values that do not fit what it was before."
            )

    def _has_values(self, effect: NewColumn) -> bool:
        column = self._quote(effect.column)
        if not effect.is_default_known:
            return self._has_rows(effect.table, "1 = 1")
        if effect.default is None:
            return self._has_rows(effect.table, f"{column} IS NOT NULL")
        value = effect.field.get_db_prep_save(effect.default, self._run.connection)
        # A NULL is no value: old code, which does not know the column, leaves it out.
        return self._has_rows(effect.table, f"{column} <> %s", value)

    def _exceeds(self, effect: WiderColumn) -> bool:
        column = self._quote(effect.column)
        limits = {
            f"{column} IS NULL": effect.not_null or None,
            f"length({column}) > {effect.max_length}": effect.max_length,
            f"round({column}, {effect.decimal_places}) <> {column}": effect.decimal_places,
            f"abs({column}) >= 1{'0' * (effect.whole_digits or 0)}": effect.whole_digits,
        }
        return any(
            self._has_rows(effect.table, condition)
            for condition, limit in limits.items()
            if limit is not None
        )

    def _has_rows(self, table: str, condition: str, *params: Any) -> bool:
        with self._run.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT 1 FROM {self._quote(table)} WHERE {condition} LIMIT 1", params or None
            )
            return cursor.fetchone() is not None

    def _quote(self, name: str) -> str:
        return self._run.connection.ops.quote_name(name)


class Elsewhere:
    """Everything but what was looked at: no table is dropped, rewritten or changed by the undoing.

    A reverse that its author wrote can do anything; what it did is compared before COMMIT.
    """

    def __init__(self, run: Run, effects: list[Effect], steps: tuple[Step, ...]) -> None:
        self._database = run.database
        self._dropped_columns = Counter(e.table for e in effects if isinstance(e, NewColumn))
        self._narrowed = {each.table for each in effects if isinstance(each, WiderColumn)}
        if any(step.runs_code for step in steps):
            self._narrowed.clear()  # their rewriting would hide what the code does to the rows
        self._bookkeeping = self._database.partitions_of(bookkeeping(*steps))
        new = [each.table for each in effects if isinstance(each, NewTable)]
        self._new = self._database.partitions_of(new) - run.tables_before
        self._before = self._database.relations()
        self._rows = self._database.rows_of_transaction()

    def check(self) -> None:
        """Raise NotLossless if something else is not as it was."""
        after = self._database.relations()
        for oid, relation in self._before.items():
            if oid not in self._new and not self._is_same(relation, after.get(oid)):
                raise NotLossless(f"the reverse would drop, empty or rewrite {relation.name}.")
        for oid, changes in self._database.rows_of_transaction().items():
            named = self._before.get(oid)
            if named is None or oid in self._new | self._bookkeeping:
                continue
            if changes != self._rows.get(oid, 0):
                raise NotLossless(f"the reverse would change rows of {named.name}.")

    def _is_same(self, before: Relation, after: Relation | None) -> bool:
        if after is None:
            return False
        if before.name in self._narrowed:
            return True
        gone = before.columns.items() - after.columns.items()
        is_less = after.columns.items() <= before.columns.items()
        return (
            after.file == before.file
            and is_less
            and len(gone) == self._dropped_columns.get(before.name, 0)
        )
