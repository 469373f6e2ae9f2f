"""A removed field made again, with its values from what replaced it, while others use the table."""

from copy import copy
from typing import Any

from django.db.migrations.operations import AddField, AlterField
from django.db.models import NOT_PROVIDED, Model, QuerySet

from deploy_ops.phases.backfill import Filling, fill
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.add_field_online import AddFieldOnline
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.enforce_not_null import FILL_RANK, EnforceNotNull
from deploy_ops.phases.operations.values import value_of
from deploy_ops.phases.triggers import Trigger, create_trigger, drop_trigger


def restore_field(change: Change, removal: Any, values: Any) -> None:
    """Make the field of a RemoveField again; `change` is the forward one.

    Meanwhile a trigger gives it to the rows that are written, whose code does not know it. Where
    `values` is NULL and the field is not, rows get its default, or the constraint names one.
    """
    model = change.model_before(removal.model_name)
    field: Any = model._meta.get_field(removal.name)
    loose = _loosened(field)
    between = change.after.clone()
    between.add_field(change.app, removal.model_name_lower, removal.name, loose, True)
    first = Change(change.app, change.editor, change.after, between)
    second = Change(change.app, change.editor, between, change.before)
    if runs_alone(change.connection, change.app):
        _plainly(first, second, removal, loose, field, values)
        return
    AddFieldOnline(removal.model_name, removal.name, loose).expand(first)
    trigger = _fill(first, first.model_after(removal.model_name), field, values)
    if not field.null:
        default = values if field.has_default() and callable(field.default) else None
        enforce = EnforceNotNull(removal.model_name, removal.name, field, fill=default)
        enforce.expand(second)
        enforce.contract(second)
    drop_trigger(change, trigger)


def _loosened(field: Any) -> Any:
    """The field as it can stand in a table that is full already, without values."""
    loose = copy(field.clone())
    loose.null, loose.default = True, NOT_PROVIDED
    loose.auto_now = loose.auto_now_add = False
    if not field.null:
        loose.db_default = NOT_PROVIDED  # comes with NOT NULL
    return loose


def _plainly(  # pylint: disable=too-many-arguments,too-many-positional-arguments
    first: Change, second: Change, removal: Any, loose: Any, field: Any, values: Any
) -> None:
    """Nobody else is at work."""
    names = removal.model_name, removal.name
    AddField(*names, loose).database_forwards(first.app, first.editor, first.before, first.after)
    if not first.editor.collect_sql:
        model = first.model_after(removal.model_name)
        rows: QuerySet[Any] = QuerySet(model, using=first.connection.alias)
        rows.update(**{removal.name: values})
    alter = AlterField(*names, field)
    alter.database_forwards(second.app, second.editor, second.before, second.after)


def _fill(change: Change, model: type[Model], field: Any, values: Any) -> Trigger:
    """Give every row its value, and let a trigger do so for rows that are written from now on."""
    table, column = model._meta.db_table, change.quote(field.column)
    value = value_of(change, model, field, values)
    trigger = Trigger(
        table=table,
        purpose="restore",
        subject=f"{change.app}.{model._meta.model_name} {field.column}",
        body=f"NEW.{column} := (SELECT ({value}) FROM (SELECT NEW.*) AS new_row);",
        rank=FILL_RANK,
    )
    create_trigger(change, trigger)
    if change.editor.collect_sql:
        change.execute(f"UPDATE {change.quote(table)} SET {column} = ({value})")
        return trigger
    differs = f"{column} IS DISTINCT FROM ({value})"
    filling = Filling.of_column(model, field.column, f"({value})", differs)
    fill(change.connection, filling, is_checked=True)
    return trigger
