"""EnforceUnique: values that occur once, checked while others write."""

from collections.abc import Sequence
from typing import Any

# pylint: disable=protected-access  # names and SQL have to be those of Django itself
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddConstraint, AlterField, AlterUniqueTogether
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Model, UniqueConstraint

from deploy_ops.phases.operations.after_backfill import AfterBackfill, fields_of
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.online import OnlineOperation, check_only
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Step

MAY_CHANGE = {"unique", "db_index"}

Unique = UniqueConstraint | Sequence[str] | str


class _AnyUnique(Operation):
    """One of Django's operations, by what is to be unique."""

    category = OperationCategory.ADDITION

    def __init__(self, model_name: str, unique: Unique, field: Any = None) -> None:
        self.model_name = model_name
        self.unique = unique
        self.field = field
        self.plain = self._plain()

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change the models; columns that are unique together already stay so."""
        operation = self.plain
        if isinstance(operation, AlterUniqueTogether):
            assert not isinstance(self.unique, UniqueConstraint)
            options = state.models[app_label, self.model_name.lower()].options
            before = set(options.get("unique_together") or ())
            operation = AlterUniqueTogether(self.model_name, before | {tuple(self.unique)})
        operation.state_forwards(app_label, state)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """As Django does."""
        self.plain.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """As Django does."""
        self.plain.database_backwards(app_label, schema_editor, from_state, to_state)

    def references_model(self, name: str, app_label: str) -> bool:
        """As Django's own."""
        return bool(self.plain.references_model(name, app_label))

    def references_field(self, model_name: str, name: str, app_label: str) -> bool:
        """As Django's own."""
        return bool(self.plain.references_field(model_name, name, app_label))

    def describe(self) -> str:
        """As Django's own."""
        return str(self.plain.describe())

    @property
    def migration_name_fragment(self) -> str:
        """As Django's own."""
        return str(self.plain.migration_name_fragment)

    def _plain(self) -> Any:
        if isinstance(self.unique, str) != (self.field is not None):
            raise TypeError("EnforceUnique takes a field after its name, and none otherwise")
        if isinstance(self.unique, UniqueConstraint):
            return AddConstraint(self.model_name, self.unique)
        if isinstance(self.unique, str):
            return AlterField(self.model_name, self.unique, self.field)
        return AlterUniqueTogether(self.model_name, {tuple(self.unique)})


class EnforceUnique(AfterBackfill, OnlineOperation, _AnyUnique):
    """Let values occur once: of a UniqueConstraint, of fields together, or of one field.

    EnforceUnique("trip", models.UniqueConstraint(...)) is AddConstraint; EnforceUnique("trip",
    ["day", "car"]) adds to `unique_together`; EnforceUnique("trip", "number",
    models.IntegerField(unique=True)) is AlterField, which needs the whole new field, since the
    state has to be what the models in the code say.

    A unique index is built concurrently; a constraint then takes it over under the name that Django
    gives it. Where values occur twice it fails, and no index is left that would reject rows.
    """

    def enforced(self) -> set[str] | None:
        """The fields, and those of the condition; expressions are not looked into."""
        if isinstance(self.unique, str):
            return {self.unique}
        if not isinstance(self.unique, UniqueConstraint):
            return set(self.unique)
        if self.unique.expressions:
            return None
        conditional = fields_of(self.unique.condition) if self.unique.condition else set()
        return None if conditional is None else {*self.unique.fields, *conditional}

    def steps(self, change: Change) -> Sequence[Step]:
        """The index, and the constraint that takes it over."""
        model = change.model_after(self.model_name)
        if isinstance(self.unique, UniqueConstraint):
            constraint = self.unique
            return online_steps(
                change, model, lambda editor: editor.add_constraint(model, constraint)
            )
        if isinstance(self.unique, str):
            return self._alter(change, self.unique)
        sql = change.editor._create_unique_sql(model, self._fields(model))
        return online_steps(change, model, lambda editor: editor.execute(sql))

    def steps_back(self, change: Change) -> Sequence[Step]:
        """Drop it."""
        model = change.model_before(self.model_name)
        if isinstance(self.unique, UniqueConstraint):
            constraint = self.unique
            return online_steps(
                change, model, lambda editor: editor.remove_constraint(model, constraint)
            )
        if isinstance(self.unique, str):
            return self._alter(change, self.unique)
        columns = [field.column for field in self._fields(model)]
        name = change.editor._unique_constraint_name(model._meta.db_table, columns, quote=False)
        sql = change.editor._delete_unique_sql(model, str(name))
        return online_steps(change, model, lambda editor: editor.execute(sql))

    def _alter(self, change: Change, name: str) -> Sequence[Step]:
        model = change.model_before(self.model_name)
        old: Any = model._meta.get_field(name)
        new: Any = change.model_after(self.model_name)._meta.get_field(name)
        check_only(change, old, new, MAY_CHANGE)
        return online_steps(change, model, lambda editor: editor.alter_field(model, old, new))

    def _fields(self, model: type[Model]) -> list[Any]:
        return [model._meta.get_field(name) for name in self.unique]  # type: ignore[union-attr]
