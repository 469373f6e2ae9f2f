"""EnforceNotNull: a column that has a value in every row, while old code still writes NULL."""

from collections.abc import Sequence
from copy import copy
from hashlib import sha256
from typing import Any

from django.db.migrations.operations import AlterField
from django.db.models import Field, Model, QuerySet

from deploy_ops.phases.backfill.filling import key_columns
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.after_backfill import AfterBackfill
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.column_steps import (
    AddProof,
    AddTrigger,
    AllowNull,
    DemandValue,
    FillNulls,
    ValidateProof,
)
from deploy_ops.phases.operations.online import PhasedOnline, check_only, run_steps
from deploy_ops.phases.operations.shadow import check_no_shadow
from deploy_ops.phases.operations.statements import row_without
from deploy_ops.phases.operations.steps import Brief, DropConstraint, Statement, Step
from deploy_ops.phases.operations.values import as_expression, value_of
from deploy_ops.phases.rows import Entry
from deploy_ops.phases.triggers import Trigger, drop_trigger

MAY_CHANGE = {"null", "default", "db_default"}
FILL_RANK = 2  # after triggers that compute a column from another one


class EnforceNotNull(AfterBackfill, PhasedOnline, AlterField):
    """AlterField from `null=True` to `null=False`.

    It takes the whole new field, as AlterField does: a default usually comes with the change, and
    the state has to be what the models in the code say. Rows without a value get `fill`, an
    expression or a value, else the field's `db_default`, else its default. Where there is nothing
    of the kind, every row has to have a value.

    A trigger fills what code of the old release writes as NULL, which a default of the database
    would not: it waits for the contract phase to go. Rows are filled in batches, a check constraint
    is validated while others write, and proves NOT NULL to PostgreSQL, which then reads nothing.
    """

    frees_table = True
    is_first = True  # its trigger depends on the column, which another contract may drop

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

    def enforced(self) -> set[str] | None:
        """The field."""
        return {self.name}

    def plain(self, change: Change) -> None:
        """Do all of it at once; rows get `fill`, of which Django's own operation knows nothing."""
        if self.fill is not None and runs_alone(change.connection, change.app):
            self._fill_plainly(change)
        super().plain(change)

    def expand(self, change: Change) -> None:
        """The trigger, the rows, the proof, NOT NULL."""
        run_steps(self, change, self._steps(change))

    def undo(self, change: Change) -> None:
        """Allow NULL again, and give the column the default back that it had."""
        model, old, new = self._fields(change)
        tables = (model._meta.db_table,)
        steps = [
            *_default_steps(change, model, old=new, new=old),
            AllowNull(tables=tables, column=old.column),
            DropConstraint(tables=tables, name=_proof(tables[0], old.column)),
        ]
        run_steps(self, change, steps)
        self.contract(change)

    def contract(self, change: Change) -> None:
        """Drop the trigger."""
        model, _, new = self._fields(change)
        drop_trigger(change, _trigger(change, model, new.column, "NULL"))

    def entry(self, change: Change) -> Entry | None:
        """The trigger, if there is anything to fill with."""
        model, _, new = self._fields(change)
        if value_of(change, model, new, self.fill) is None:
            return None
        return Entry(model._meta.db_table, f"Drop the trigger that fills {self.name}")

    def _steps(self, change: Change) -> list[Step]:
        model, old, new = self._fields(change)
        check_only(change, old, new, MAY_CHANGE)
        if old.has_db_default() or new.has_db_default():
            check_no_shadow(
                change, model._meta.db_table, new.column, "a default of it would hide values"
            )
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
        key = key_columns(model)
        trigger = _trigger(change, model, column, value)
        return [
            AddTrigger(tables=tables, trigger=trigger),
            FillNulls(tables=tables, column=column, value=value, key=key),
        ]

    def _fill_plainly(self, change: Change) -> None:
        """Write `fill` where there is no value."""
        if change.editor.collect_sql:
            return
        _, old, new = self._fields(change)
        expression = as_expression(self.fill, new)
        rows: QuerySet[Any] = QuerySet(
            change.model_before(self.model_name), using=change.connection.alias
        )
        rows.filter(**{f"{old.name}__isnull": True}).update(**{old.name: expression})

    def _fields(self, change: Change) -> tuple[type[Model], Any, Any]:
        """The model, and the field before and after; a default that is for this once is on it."""
        model = change.model_after(self.model_name)
        new: Any = copy(model._meta.get_field(self.name))
        if not self.preserve_default:
            new.default = self.field.default
        return model, change.model_before(self.model_name)._meta.get_field(self.name), new


def _default_steps(change: Change, model: type[Model], old: Any, new: Any) -> list[Step]:
    """The default of the database as it is in the field after."""
    if not (old.has_db_default() or new.has_db_default()):
        return []
    drop = not new.has_db_default()
    # pylint: disable-next=protected-access  # what Django itself runs
    fragment, params = change.editor._alter_column_database_default_sql(model, old, new, drop=drop)
    table = model._meta.db_table
    statement = Statement(f"ALTER TABLE {change.quote(table)} {fragment}", params)
    return [Brief(tables=(table,), statement=statement)]


def _trigger(change: Change, model: type[Model], column: str, value: str) -> Trigger:
    new = f"NEW.{change.quote(column)}"
    return Trigger(
        table=model._meta.db_table,
        purpose="fill",
        subject=f"{change.app}.{model._meta.model_name} {column}",
        body=f"{new} := (SELECT ({value}) FROM (SELECT NEW.*) AS new_row);",
        rank=FILL_RANK,
        condition=f"{new} IS NULL",
    )


def _proof(table: str, column: str) -> str:
    return f"deploy_ops_not_null_{sha256(f'{table}.{column}'.encode()).hexdigest()[:12]}"
