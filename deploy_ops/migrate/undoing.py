"""Undoing some steps in one transaction, with the tables locked, only if nothing is lost by it.

Rows are looked at, not counters, and between looking and dropping nobody can write. New tables that
have rows are copied to a kept table first. Whatever cannot be shown to lose nothing raises
NotLossless, and the transaction rolls back.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Set
from itertools import groupby

from deploy_ops.databases.base import Relation
from deploy_ops.errors import NotLossless
from deploy_ops.migrate.loss import loss_by
from deploy_ops.migrate.plan import Step, effects_after
from deploy_ops.migrate.reversal import Effect, NewColumn, NewTable, WiderColumn
from deploy_ops.migrate.run import Run
from deploy_ops.phases.rows import TABLE as CONTRACT_ROWS


def together(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    """Steps as they are undone: what one transaction can hold at once, each other one by itself."""
    for is_atomic, group in groupby(steps, lambda step: step.is_atomic):
        yield from [tuple(group)] if is_atomic else [(step,) for step in group]


def bookkeeping(*steps: Step) -> list[str]:
    """Tables that migrating itself writes to, and undoing gives back."""
    if any(step.runs_code for step in steps):
        return ["django_migrations", CONTRACT_ROWS]
    return [
        "django_migrations",
        CONTRACT_ROWS,
        "django_content_type",
    ]  # renamed with its model, and back


class Undoing:
    """Undoing some steps (newest first) that one transaction can hold.

    `not_theirs` are numbers of tables that they have not made, whatever these are called.
    """

    def __init__(self, run: Run, steps: tuple[Step, ...], not_theirs: Set[int]) -> None:
        self._run = run
        self._steps = steps
        self._not_theirs = not_theirs
        self._effects = effects_after(reversed(steps))
        self.kept: list[str] = []

    def unapply(self) -> None:
        """Let Django undo them."""
        for step in self._steps:
            self._run.at_work = step
            self._run.history.unapply(step)
        self._run.at_work = None

    def work(self) -> None:
        """Lock, look, keep, undo, and look again before anything is committed."""
        database = self._run.database
        tables = sorted({effect.table for effect in self._effects})
        if unknown := [table for table in tables if not database.has_table(table)]:
            raise NotLossless(f"{', '.join(unknown)} is not there any more under this name.")
        database.lock_tables(tables)
        self.kept = [kept for table in self._new_tables() if (kept := database.keep_rows(table))]
        if self.kept:  # who is killed after COMMIT cannot tell their names any more
            undone = [step.key for step in self._steps]
            self._run.journal.record("rows_kept", migrations=undone, tables=self.kept)
        for effect in self._effects:
            if lost := loss_by(self._run.connection, effect):
                raise NotLossless(lost)
        elsewhere = Elsewhere(self._run, self._effects, self._steps, self._not_theirs)
        self.unapply()
        elsewhere.check()
        if self._run.connection.run_on_commit:
            raise NotLossless("the reverse puts work off until its transaction is committed.")

    def _new_tables(self) -> list[str]:
        return [each.table for each in self._effects if isinstance(each, NewTable)]


class Elsewhere:
    """Everything but what was looked at: no table is dropped, rewritten or changed by the undoing.

    A reverse that its author wrote can do anything; what it did is compared before COMMIT.
    """

    def __init__(
        self, run: Run, effects: list[Effect], steps: tuple[Step, ...], not_theirs: Set[int]
    ) -> None:
        self._database = run.database
        self._dropped_columns = Counter(e.table for e in effects if isinstance(e, NewColumn))
        self._narrowed = {each.table for each in effects if isinstance(each, WiderColumn)}
        if any(step.runs_code for step in steps):
            self._narrowed.clear()  # their rewriting would hide what the code does to the rows
        self._bookkeeping = self._database.partitions_of(bookkeeping(*steps))
        new = [each.table for each in effects if isinstance(each, NewTable)]
        self._new = self._database.partitions_of(new) - not_theirs
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
