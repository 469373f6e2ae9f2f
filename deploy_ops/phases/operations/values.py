"""What a column gets where a row has no value for it, as SQL without parameters."""

from typing import Any

from django.db.models import Field, Model, Value
from django.db.models.sql import Query

from deploy_ops.errors import NotOnline
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.columns import NOW


def value_of(change: Change, model: type[Model], field: "Field[Any, Any]", fill: Any) -> str | None:
    """`fill`, else the field's db_default, else its default; None if it has nothing of the kind."""
    if fill is not None:
        return composed(change, *_expression(change, model, field, fill))
    if field.has_db_default():
        return database_default(change, field)
    return python_default(change, field)


def database_default(change: Change, field: "Field[Any, Any]") -> str:
    """The default that the database has for a column."""
    return composed(change, *change.editor.db_default_sql(field))


def python_default(change: Change, field: "Field[Any, Any]") -> str | None:
    """A default that is the same for every row; None if there is none."""
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return NOW[field.get_internal_type()]
    if not field.has_default():
        return None
    value = change.editor.effective_default(field)
    if value != change.editor.effective_default(field):
        raise NotOnline(
            f"The default of {field.model._meta.label}.{field.name} gives another value at each "
            "call, and the database cannot call it for existing rows. Nothing was changed. Write "
            "how the database computes the value, for example:\n"
            "    EnforceNotNull(..., fill=RandomUUID())  # django.contrib.postgres.functions\n"
            "    EnforceNotNull(..., fill=Now())  # django.db.models.functions\n"
            "Add a new field with null=True first (AddFieldOnline), then enforce it."
        )
    return None if value is None else composed(change, "%s", [value])


def _expression(
    change: Change, model: type[Model], field: "Field[Any, Any]", fill: Any
) -> tuple[str, Any]:
    query = Query(model, alias_cols=False)
    resolved = as_expression(fill, field).resolve_expression(query, allow_joins=False)
    sql, params = query.get_compiler(connection=change.connection).compile(resolved)
    return sql, params


def as_expression(fill: Any, field: "Field[Any, Any]") -> Any:
    """A value as one of the field; an expression is left alone."""
    return fill if hasattr(fill, "resolve_expression") else Value(fill, output_field=field)


def composed(change: Change, sql: str, params: Any) -> str:
    """SQL with its parameters written into it."""
    operations: Any = change.connection.ops
    return str(operations.compose_sql(sql, params))
