"""How a shadow goes: nothing that was written to it alone is lost, nor what was made on it.

Later migrations know the new name alone, so their indexes and constraints stand on the shadow. They
are built on the column itself beside it, and take over their names when the shadow is dropped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.catalog import Catalog
from deploy_ops.phases.operations.dependents import (
    Dependent,
    check_no_foreign_key,
    dependents_for,
)
from deploy_ops.phases.operations.shadow import equal
from deploy_ops.phases.operations.steps import Step, run_whole
from deploy_ops.phases.operations.twins import name_twin, own_name, proof_steps, twin_steps


@dataclass(frozen=True)
class Shadow:
    """A column and the second one for its new name."""

    change: Change
    table: str
    source: str
    column: str

    @cached_property
    def dependents(self) -> Sequence[Dependent]:
        """What later migrations have made on it, for the column itself."""
        check_no_foreign_key(self.change, self.table, self.column)
        found = dependents_for(self.change, self.table, self.column, self.source)
        return [each for each in found if not each.name.startswith("deploy_ops_")]

    @cached_property
    def demands_value(self) -> bool:
        """Whether a later migration has made it NOT NULL."""
        catalog = Catalog(self.change.connection, self.table)
        return bool(catalog.is_not_null(self.column)) and not catalog.is_not_null(self.source)

    @property
    def proof(self) -> str:
        """The check that says that both are equal."""
        return self.twin("proof")

    def twin(self, name: str) -> str:
        """What an index or a constraint is called until it gets its name."""
        return own_name(f"{self.table} {self.column} {name}")

    def end_steps(self, drop: Callable[[], None]) -> Iterator[Step]:
        """All of it; `drop` drops the shadow and renames the column."""
        yield from twin_steps(self.change, self.table, self.dependents, self.twin)
        source, column = map(self.change.quote, (self.source, self.column))
        condition = equal(source, column)
        condition += f" AND {source} IS NOT NULL" if self.demands_value else ""
        yield from proof_steps(self.change, self.table, self.proof, condition)
        yield EndShadow(tables=(self.table,), shadow=self, drop=drop)


@dataclass(frozen=True, kw_only=True)
class EndShadow(Step):
    """Drop the shadow, with the proof, and give what hung on it to the column."""

    shadow: Shadow
    drop: Callable[[], None]
    needs_no_transaction = True

    def is_done(self, change: Change) -> bool:
        """There would be no steps."""
        return False

    def work(self, change: Change) -> None:
        """All in one transaction."""
        run_whole(change, self.tables, lambda: self._work(change))

    def _work(self, change: Change) -> None:
        shadow, table = self.shadow, change.quote(self.table)
        if shadow.demands_value:  # asked before the column is dropped
            source = change.quote(shadow.source)
            change.execute(f"ALTER TABLE {table} ALTER COLUMN {source} SET NOT NULL")
        self.drop()
        for each in shadow.dependents:
            name_twin(change, self.table, each, shadow.twin(each.name))
