"""Columns and foreign keys that only one of two codes knows."""

# pylint: disable=protected-access  # of Django's schema editor, for names and SQL as it has them

from collections.abc import Iterable
from copy import copy
from typing import Any

from django.db import models, transaction

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.shadow import source_of

NOW = {
    "DateTimeField": "CURRENT_TIMESTAMP",
    "DateField": "CURRENT_DATE",
    "TimeField": "LOCALTIME",
}
FK_SUFFIX = "_fk_%(to_table)s_%(to_column)s"  # as BaseDatabaseSchemaEditor.add_field names them


def table_exists(change: Change, table: str) -> bool:
    """Whether there is a table of that name."""
    return table in change.connection.introspection.table_names()


def drop_foreign_keys(change: Change, model: type[models.Model], fields: Iterable[Any]) -> None:
    """Let rows of the tables that fields point to be deleted by code that does not know them."""
    for field in _with_constraint(fields):
        if change.editor.collect_sql:
            change.execute(
                f"-- drops the foreign key of {model._meta.db_table}.{field.column}; "
                "its name is looked up"
            )
            continue
        for name in _foreign_keys(change, model, field):
            change.execute(
                f"ALTER TABLE {change.quote(model._meta.db_table)} DROP CONSTRAINT "
                f"{change.quote(name)}"
            )


def restore_foreign_keys(change: Change, model: type[models.Model], fields: Iterable[Any]) -> None:
    """Make those again that `drop_foreign_keys` has dropped."""
    for field in _with_constraint(fields):
        if not _foreign_keys(change, model, field):
            source = copy(field)
            source.column = source_of(change, model._meta.db_table, field.column)
            change.editor.execute(change.editor._create_fk_sql(model, source, FK_SUFFIX))


def name_foreign_key(
    change: Change, model: type[models.Model], column: str, later: type[models.Model], field: Any
) -> None:
    """Give the foreign key of a column the name that Django gives to that of a later field.

    Django itself would make it anew, and read all rows for it.
    """
    editor, table = change.editor, change.quote(model._meta.db_table)
    name = str(editor._fk_constraint_name(later, field, FK_SUFFIX))
    if editor.collect_sql:
        change.execute(f"-- renames the foreign key of {table} to {name}")
        return
    for each in editor._constraint_names(model, [column], foreign_key=True):
        if change.quote(each) != name:
            change.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {change.quote(each)} TO {name}")


def _with_constraint(fields: Iterable[Any]) -> list[Any]:
    return [each for each in fields if each.remote_field and each.column and each.db_constraint]


def _foreign_keys(change: Change, model: type[models.Model], field: Any) -> list[str]:
    column = source_of(change, model._meta.db_table, field.column)
    names: list[str] = change.editor._constraint_names(model, [column], foreign_key=True)
    return names


def allow_omission(change: Change, model: type[models.Model], field: Any) -> None:
    """Let the inserts of code that does not know the column succeed.

    By a default where one value is right for every row, since old code reads what new code
    inserts; else by allowing NULL. A column with a default of its own needs nothing.
    """
    if has_own_value(field):
        return
    if (default := shared_default(change, model, field)) is not None:
        sql, params = default
        change.execute(f"{_alter(change, model, field)} SET DEFAULT {sql}", params)
    elif not field.null:
        change.execute(f"{_alter(change, model, field)} DROP NOT NULL")


def demand_again(change: Change, model: type[models.Model], field: Any) -> None:
    """Take back `allow_omission`; rows that were inserted meanwhile get the field's default."""
    with transaction.atomic(change.connection.alias):
        _demand(change, model, field)


def _demand(change: Change, model: type[models.Model], field: Any) -> None:
    if has_own_value(field):
        return
    if not field.null and shared_default(change, model, field) is None and field.has_default():
        _fill(change, model, field)
    change.execute(f"{_alter(change, model, field)} DROP DEFAULT")
    if not field.null:
        change.execute(f"{_alter(change, model, field)} SET NOT NULL")


def _alter(change: Change, model: type[models.Model], field: Any) -> str:
    table = model._meta.db_table
    column = change.quote(source_of(change, table, field.column))
    return f"ALTER TABLE {change.quote(table)} ALTER COLUMN {column}"


def _fill(change: Change, model: type[models.Model], field: Any) -> None:
    """Give each row without a value one of its own: a default that is called may differ by row."""
    table = change.quote(model._meta.db_table).replace("%", "%%")
    column = source_of(change, model._meta.db_table, field.column)
    column = change.quote(column).replace("%", "%%")
    row = "tableoid = %s AND ctid = %s::tid"  # partitions and heirs number their rows alike
    with change.connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE", [])
        cursor.execute(f"SELECT tableoid, ctid::text FROM {table} WHERE {column} IS NULL", [])
        for place in cursor.fetchall():
            value = change.editor.effective_default(field)
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE {row}", [value, *place])


def has_own_value(field: Any) -> bool:
    """Whether the database itself gives the column a value where an insert leaves it out."""
    return isinstance(field, models.GeneratedField | models.AutoField) or field.has_db_default()


def shared_default(
    change: Change, model: type[models.Model], field: Any
) -> tuple[str, list[Any] | None] | None:
    """One value that is right for every row, as SQL and its parameters; None if there is none."""
    if _is_unique(model, field) or field.has_default() and callable(field.default):
        return None
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return NOW[field.get_internal_type()], None
    value = change.editor.effective_default(field)
    if value is None and not field.null and field.empty_strings_allowed:
        value = field.get_db_prep_save("", change.connection)
    return None if value is None else ("%s", [value])


def _is_unique(model: type[models.Model], field: Any) -> bool:
    """Whether the field may be part of anything unique; expressions are not looked into."""
    options = model._meta
    unique = [each for each in options.constraints if isinstance(each, models.UniqueConstraint)]
    together = [*options.unique_together, *(each.fields for each in unique)]
    return (
        field.unique
        or any(field.name in names for names in together)
        or any(each.expressions for each in unique)
    )
