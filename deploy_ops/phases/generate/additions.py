"""New fields, and fields under a new name."""

from collections.abc import Iterable, Iterator
from copy import copy

from django.db.migrations.operations import AddField, AlterField, RenameField
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

from deploy_ops.phases.generate.fields import (
    AnyField,
    changed,
    check_of,
    database_type,
    differs_by_row,
    filling,
    is_constrained,
    is_expression,
    is_fixed,
    is_indexed,
    is_numbered,
)
from deploy_ops.phases.generate.filled import check_filling, enforce_filled
from deploy_ops.phases.generate.refusal import refusal
from deploy_ops.phases.generate.scene import Scene
from deploy_ops.phases.operations.add_field_online import AddFieldOnline
from deploy_ops.phases.operations.backfill import Backfill
from deploy_ops.phases.operations.enforce_not_null import EnforceNotNull
from deploy_ops.phases.operations.enforce_unique import EnforceUnique
from deploy_ops.phases.operations.rename_field_online import RenameFieldOnline


def add_field(operation: AddField, scene: Scene) -> Iterable[Operation]:
    """A column, with what fills it for the rows that are there and those of old code."""
    field = copy(scene.new_field(operation.model_name, operation.name))
    if not operation.preserve_default:
        field.default = operation.field.default
    if field.many_to_many:
        is_implicit = field.remote_field.through._meta.auto_created
        return [_online(operation)] if is_implicit else [operation]
    if database_type(field, scene) is None:
        return [operation]
    _check(operation, field, scene)
    return _add_column(operation, field, scene)


def _add_column(operation: AddField, field: AnyField, scene: Scene) -> Iterable[Operation]:
    if field.has_db_default():
        if not is_fixed(field.db_default):
            return _from_database(operation, field)
    elif not field.null and not field.generated:
        return _from_python(operation, field, scene)
    elif field.has_default() and not callable(field.default) and field.default is not None:
        return [_online(operation)]  # rows of old code get it too, until it is gone
    needs_more = is_indexed(field) or is_constrained(field) or check_of(field, scene)
    return [_online(operation)] if needs_more else [operation]


def rename_field(operation: RenameField, scene: Scene) -> Iterable[Operation]:
    """Both names until the old release is gone; or the model's name alone changes."""
    old = scene.old_field(operation.model_name, operation.old_name)
    new = scene.new_field(operation.model_name, operation.new_name)
    if old.column == new.column and not old.many_to_many:
        return [operation]
    if old.many_to_many or old.primary_key or old.generated or old.null and old.has_db_default():
        kept = "db_table" if old.many_to_many else "db_column"
        where = old.m2m_db_table() if old.many_to_many else old.column
        raise refusal(
            f"{scene.app}.{operation.model_name}.{operation.old_name}",
            "it cannot have two names in the database for a while",
            f"Keep the one that it has there, and rename the field alone:\n"
            f"    {operation.new_name} = ...({kept}={where!r})",
        )
    return [RenameFieldOnline(operation.model_name, operation.old_name, operation.new_name)]


def _online(operation: AddField) -> Operation:
    return AddFieldOnline(
        operation.model_name, operation.name, operation.field, operation.preserve_default
    )


def _check(operation: AddField, field: AnyField, scene: Scene) -> None:
    subject = f"{scene.app}.{operation.model_name}.{operation.name}"
    if field.primary_key or is_numbered(field):
        raise refusal(
            subject,
            "a new primary key, or one that the database numbers, rewrites the table while "
            "everybody waits",
            "Write that change with makemigrations, for a maintenance window.",
        )
    if field.generated and field.db_persist:
        raise refusal(
            subject,
            "a stored generated column rewrites the table while everybody waits",
            "Use db_persist=False (PostgreSQL 18), or a column that code fills.",
        )
    if field.column in scene.columns_that_wait(operation.model_name):
        raise refusal(
            subject,
            f"the column {field.column} of a field that goes is still there until the contract "
            "phase",
            "Give the new field another db_column, or remove the old one in a release before.",
        )


def _from_database(operation: AddField, field: AnyField) -> Iterator[Operation]:
    """A default of the database that is another one for each row: added as such it rewrites."""
    model, name = operation.model_name, operation.name
    final = operation.field
    loose = changed(final, unique=False) if field.unique else final
    empty = changed(loose, null=True, db_default=NOT_PROVIDED, default=NOT_PROVIDED)
    yield AddFieldOnline(model, name, empty)
    if field.null:
        yield AlterField(model, name, loose)  # rows from now on
        yield Backfill(model, name, field.db_default)  # and those from before
    else:
        yield EnforceNotNull(model, name, loose)
    if field.unique:
        yield EnforceUnique(model, name, final)


def _from_python(operation: AddField, field: AnyField, scene: Scene) -> Iterator[Operation]:
    """One value for all, or one that Python calls anew for each row, as the database does then."""
    model, name = operation.model_name, operation.name
    subject = f"{scene.app}.{model}.{name}"
    if not is_expression(field.default) and not differs_by_row(field):
        if field.unique:
            raise refusal(
                subject,
                "all existing rows would get the same value, and it has to be unique",
                "Add it with null=True first, fill it, then take null=True away.",
            )
        yield _online(operation)
        return
    fill = filling(field)
    if fill is None:
        raise refusal(
            subject,
            "its default gives each row another value, and the database cannot call it for "
            "existing rows and for rows that old code inserts",
            "Give it a db_default, or add it with null=True first, fill it by a Backfill, then "
            "take null=True away.",
        )
    check_filling(fill, scene.new(model), subject)
    final = operation.field
    loose = changed(final, unique=False) if field.unique else final
    yield AddFieldOnline(model, name, changed(loose, null=True, default=NOT_PROVIDED))
    yield enforce_filled(operation, loose, fill)
    if field.unique:
        kept = final if operation.preserve_default else changed(final, default=NOT_PROVIDED)
        yield EnforceUnique(model, name, kept)
