"""EnforceNotNull: a column that has a value in every row, while old code still writes NULL."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.db.migrations.operations import AlterField
from django.db.models import Field, Model, QuerySet

from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.base import Change, PhasedOperation
from deploy_ops.phases.operations.filling import FillNulls
from deploy_ops.phases.operations.online import check_only, run_steps
from deploy_ops.phases.operations.statements import row_without
from deploy_ops.phases.operations.steps import (
    AddConstraint,
    Brief,
    DropConstraint,
    Statement,
    Step,
    Validate,
)
from deploy_ops.phases.operations.values import as_expression, value_of
from deploy_ops.phases.rows import Entry
from deploy_ops.phases.triggers import Trigger, create_trigger, drop_trigger

MAY_CHANGE = {"null", "default", "db_default"}
FILL_RANK = 2  # after triggers that compute a column from another one


class EnforceNotNull(PhasedOperation, AlterField):
    """AlterField from `null=True` to `null=False`.

    It takes the whole new field, as AlterField does: a default usually comes with the change, and
    the state has to be what the models in the code say. Rows without a value get `fill`, an
    expression or a value, else the field's `db_default`, else its default. Where there is nothing
    of the kind, every row has to have a value.

    A trigger fills what code of the old release writes as NULL, which a default of the database
    would not: it waits for the contract phase to go. Rows are filled in batches, a check constraint
    is validated while others write, and proves NOT NULL to PostgreSQL, which then reads nothing.
    """

    contract_is_atomic = False
    frees_table = True

    def __init__(
        self,
        model_name: str,
        name: str,
        field: "Field[Any, Any]",
        preserve_default: bool = True,
        fill: Any = None,
    ) -> None:
        self.fill = fill
        super().__init__(model_name, name, field, preserve_default)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """As AlterField, and what fills."""
        name, args, kwargs = super().deconstruct()
        return name, args, kwargs if self.fill is None else {**kwargs, "fill": self.fill}

    def plain(self, change: Change) -> None:
        """Do all of it at once; as Django does only where nobody can wait."""
        if runs_alone(change.connection, change.app):
            self._fill_plainly(change)
            states = change.before, change.after
            AlterField.database_forwards(self, change.app, change.editor, *states)
        else:
            self.expand(change)
            self.contract(change)

    def plain_backwards(self, change: Change) -> None:
        """Allow NULL again."""
        if runs_alone(change.connection, change.app):
            states = change.after, change.before
            AlterField.database_backwards(self, change.app, change.editor, *states)
        else:
            self.undo(change)

    def expand(self, change: Change) -> None:
        """The trigger, the rows, the proof, NOT NULL."""
        run_steps(self, change, self._steps(change))

    def undo(self, change: Change) -> None:
        """Allow NULL again, and give the column the default back that it had."""
        model, old, new = self._fields(change)
        tables = (model._meta.db_table,)
        steps = [
            *_default_steps(change, model, new, old),
            AllowNull(tables=tables, column=old.column),
            DropConstraint(tables=tables, name=_proof(tables[0], old.column)),
        ]
        run_steps(self, change, steps)
        self.contract(change)

    def contract(self, change: Change) -> None:
        """Drop the trigger."""
        model, _, new = self._fields(change)
        drop_trigger(change, _trigger(change, model._meta.db_table, new.column, "NULL"))

    def entry(self, change: Change) -> Entry | None:
        """The trigger, if there is anything to fill with."""
        model, _, new = self._fields(change)
        if value_of(change, model, new, self.fill) is None:
            return None
        return Entry(model._meta.db_table, f"Drop the trigger that fills {self.name}")

    def concerns(self, change: Change) -> bool:
        """As AlterField."""
        model = change.model_after(self.model_name)
        return self.allow_migrate_model(change.connection.alias, model)

    def _steps(self, change: Change) -> list[Step]:
        model, old, new = self._fields(change)
        check_only(change, old, new, MAY_CHANGE)
        tables, column = (model._meta.db_table,), new.column
        is_not_null = f"{change.quote(column)} IS NOT NULL"
        proof = _proof(tables[0], column)
        table = change.quote(tables[0])
        add = f"ALTER TABLE {table} ADD CONSTRAINT {change.quote(proof)} CHECK ({is_not_null})"
        return [
            *self._fill_steps(change, model, new),
            *_default_steps(change, model, old, new),
            AddProof(
                tables=tables,
                name=proof,
                column=column,
                statement=Statement(f"{add} NOT VALID"),
            ),
            ValidateProof(
                tables=tables,
                name=proof,
                column=column,
                violating=row_without(model, is_not_null),
            ),
            DemandValue(tables=tables, column=column),
            DropConstraint(tables=tables, name=proof),
        ]

    def _fill_steps(self, change: Change, model: type[Model], new: Any) -> list[Step]:
        value = value_of(change, model, new, self.fill)
        if value is None:
            return []
        tables, column = (model._meta.db_table,), new.column
        key = tuple(field.column for field in model._meta.pk_fields)
        trigger = _trigger(change, tables[0], column, value)
        return [
            AddTrigger(tables=tables, trigger=trigger),
            FillNulls(tables=tables, column=column, value=value, key=key),
        ]

    def _fill_plainly(self, change: Change) -> None:
        """What Django's own operation would not know to fill with."""
        if self.fill is None:
            return
        model, old, new = self._fields(change)
        expression = as_expression(self.fill, new)
        query = QuerySet(change.model_before(self.model_name), using=change.connection.alias)
        if not change.editor.collect_sql:
            query.filter(**{f"{old.name}__isnull": True}).update(**{old.name: expression})

    def _fields(self, change: Change) -> tuple[type[Model], Any, Any]:
        """The model, and the field before and after; a default that is for this once is on it."""
        model = change.model_after(self.model_name)
        new = copy(model._meta.get_field(self.name))
        if not self.preserve_default:
            new.default = self.field.default
        return model, change.model_before(self.model_name)._meta.get_field(self.name), new


@dataclass(frozen=True, kw_only=True)
class OnColumn(Step):
    """A step that is done once the column is NOT NULL."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it is."""
        return self.catalog(change).is_not_null(self.column) is True or super().is_done(change)


@dataclass(frozen=True, kw_only=True)
class AddProof(OnColumn, AddConstraint):
    """A check that no value is missing, NOT VALID."""


@dataclass(frozen=True, kw_only=True)
class ValidateProof(OnColumn, Validate):
    """The check holds for every row."""


@dataclass(frozen=True, kw_only=True)
class AddTrigger(Step):
    """The trigger that fills."""

    trigger: Trigger

    def is_done(self, change: Change) -> bool:
        """Its function may be another one by now."""
        return False

    def work(self, change: Change) -> None:
        """Create it."""
        create_trigger(change, self.trigger)


@dataclass(frozen=True, kw_only=True)
class DemandValue(Step):
    """SET NOT NULL, which reads no row where a valid check proves it."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it is set."""
        return self.catalog(change).is_not_null(self.column) is True

    def work(self, change: Change) -> None:
        """Set it."""
        table, column = change.quote(self.table), change.quote(self.column)
        self.briefly(change, Statement(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL"))


@dataclass(frozen=True, kw_only=True)
class AllowNull(Step):
    """DROP NOT NULL."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it is not set."""
        return self.catalog(change).is_not_null(self.column) is not True

    def work(self, change: Change) -> None:
        """Drop it."""
        table, column = change.quote(self.table), change.quote(self.column)
        self.briefly(change, Statement(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"))


def _default_steps(change: Change, model: type[Model], old: Any, new: Any) -> list[Step]:
    """The default of the database as it is in the field after."""
    if not (old.has_db_default() or new.has_db_default()):
        return []
    drop = not new.has_db_default()
    fragment, params = change.editor._alter_column_database_default_sql(model, old, new, drop=drop)
    table = model._meta.db_table
    statement = Statement(f"ALTER TABLE {change.quote(table)} {fragment}", params)
    return [Brief(tables=(table,), statement=statement)]


def _trigger(change: Change, table: str, column: str, value: str) -> Trigger:
    new = f"NEW.{change.quote(column)}"
    return Trigger(
        table=table,
        purpose="fill",
        subject=column,
        body=f"{new} := (SELECT ({value}) FROM (SELECT NEW.*) AS new_row);",
        rank=FILL_RANK,
        condition=f"{new} IS NULL",
    )


def _proof(table: str, column: str) -> str:
    return f"deploy_ops_not_null_{sha256(f'{table}.{column}'.encode()).hexdigest()[:12]}"
