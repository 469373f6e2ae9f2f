"""`Contract(operation)`: the models change now, the database when the old release is gone."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.db.migrations.operations import (
    AddField,
    AlterField,
    AlterModelTable,
    AlterUniqueTogether,
    CreateModel,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameField,
    RenameModel,
    RunPython,
    RunSQL,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.alteration import (
    ConstraintRemoval,
    FieldAlteration,
    IndexRemoval,
    TogetherAlteration,
)
from deploy_ops.phases.operations.base import Change, PhasedOperation
from deploy_ops.phases.operations.half import Code, Half
from deploy_ops.phases.operations.model_rename import ModelRename
from deploy_ops.phases.operations.online import check_no_transaction
from deploy_ops.phases.operations.removal import FieldRemoval, ModelRemoval
from deploy_ops.phases.operations.restore_field import restore_field
from deploy_ops.phases.rows import Entry

HALVES: Mapping[type[Operation], type[Half[Any]]] = {
    AlterField: FieldAlteration,
    AlterUniqueTogether: TogetherAlteration,
    DeleteModel: ModelRemoval,
    RemoveConstraint: ConstraintRemoval,
    RemoveField: FieldRemoval,
    RemoveIndex: IndexRemoval,
    RenameModel: ModelRename,
    RunPython: Code,
    RunSQL: Code,
}
SUBJECTS = {AlterUniqueTogether: "name", DeleteModel: "name", RenameModel: "old_name"}
# New code needs what they make: they cannot wait.
NEEDED_AT_ONCE = (AddField, AlterModelTable, CreateModel, RenameField)


class Contract(PhasedOperation):  # pylint: disable=too-many-public-methods  # as Django asks for
    """Apply an operation to the state of the models now, and to the database in the contract phase.

    What both codes need in between is done at once where the operation is known: of RemoveField and
    DeleteModel the foreign keys go, and inserts may leave the column out; an AlterField that only
    loosens runs now, and so does RemoveConstraint of a check; RenameModel runs now, and leaves a
    view under the old table's name. Of any other operation nothing is done before the contract
    phase. Raises TypeError for operations that new code cannot wait for.

    `reverse_values` of a RemoveField is an expression, as Backfill takes one: what the field is in
    each row, from what replaced it (`F("new_name")`, `F("metres") / 1000`). Reversed after its
    contract, the field is filled with it in batches.
    """

    def __init__(self, operation: Operation, reverse_values: Any = None) -> None:
        if isinstance(operation, NEEDED_AT_ONCE):
            raise TypeError(
                f"{type(operation).__name__} cannot wait for the contract phase: new code needs "
                "what it makes as soon as it runs. Write it without Contract, or use the online "
                "operation."
            )
        if reverse_values is not None and not isinstance(operation, RemoveField):
            raise TypeError("Contract takes reverse_values only with a RemoveField")
        self.operation = operation
        self.reverse_values = reverse_values
        for name in ("reversible", "reduces_to_sql", "atomic", "category"):
            setattr(self, name, getattr(operation, name))

    @cached_property
    def half(self) -> Half[Any]:
        """What is known of the kind of operation."""
        return HALVES.get(type(self.operation), Half)(self.operation)

    @property
    def begins_at_once(self) -> bool:
        """Whether something of it is done now."""
        return self.half.begins_at_once

    @property
    def contract_is_atomic(self) -> bool | None:  # type: ignore[override]
        """Whether one transaction can hold the contract."""
        return self.half.contract_is_atomic

    @property
    def is_idempotent(self) -> bool:  # type: ignore[override]
        """Whether doing it again after it failed half-way is harmless."""
        return self.half.is_idempotent

    @property
    def frees_table(self) -> bool:  # type: ignore[override]
        """Whether it drops what blocks the other rows of its table."""
        return self.half.frees_table

    @property
    def is_first(self) -> bool:  # type: ignore[override]
        """Whether it drops what blocks even those."""
        return self.half.is_first

    @property
    def follows_table(self) -> bool:  # type: ignore[override]
        """Whether the contract is about the table, whatever it is called by then."""
        return self.half.follows_table

    @property
    def spoils_backfills(self) -> bool:  # type: ignore[override]
        """Whether it may take away what a backfill that is not done reads."""
        return self.half.spoils_backfills

    @property
    def subject(self) -> str | None:
        """Name of the model that the operation changes, as it is before it."""
        name = SUBJECTS.get(type(self.operation), "model_name")
        return getattr(self.operation, name, None)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change the models, as the operation itself."""
        self.operation.state_forwards(app_label, state)

    def plain(self, change: Change) -> None:
        """Do it at once."""
        self._check_way_back(change)
        self.half.plain(change)

    def plain_backwards(self, change: Change) -> None:
        """Take it back, with the values where it is known what holds them."""
        if self.reverse_values is not None:
            restore_field(change, self.operation, self.reverse_values)
        else:
            self.half.plain_backwards(change)

    def expand(self, change: Change) -> None:
        """Do what both codes need in between."""
        self._check_way_back(change)
        self.half.expand(change)

    def undo(self, change: Change) -> None:
        """Take back what `expand` did."""
        self.half.undo(change)

    def contract(self, change: Change) -> None:
        """Do what was put off."""
        self.half.contract(change)

    def loses(self, change: Change) -> bool | None:
        """Whether values are gone with the contract, and nothing else holds them."""
        return False if self.reverse_values is not None else self.half.loses(change)

    def entry(self, change: Change) -> Entry | None:
        """The row for what is put off."""
        return self.half.entry(change)

    def concerns(self, change: Change) -> bool:
        """Whether the operation touches this database."""
        return self.half.concerns(change)

    def references_model(self, name: str, app_label: str) -> bool:
        """As the operation itself."""
        return self.operation.references_model(name, app_label)

    def references_field(self, model_name: str, name: str, app_label: str) -> bool:
        """As the operation itself."""
        return self.operation.references_field(model_name, name, app_label)

    def _check_way_back(self, change: Change) -> None:
        """The way back commits on its way: said now, not when it is needed."""
        if self.reverse_values is not None and not runs_alone(change.connection, change.app):
            check_no_transaction(self, change)

    def describe(self) -> str:
        """What the operation does, and when."""
        return self.half.describe()

    @property
    def migration_name_fragment(self) -> str:
        """As the operation itself."""
        return self.operation.migration_name_fragment
