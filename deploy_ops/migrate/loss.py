"""What dropping or narrowing a column would lose: its rows are looked at."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases import database_for
from deploy_ops.migrate.reversal import Effect, NewColumn, NewTable, WiderColumn


def loss_by(connection: BaseDatabaseWrapper, effect: Effect) -> str | None:
    """Say what would be lost by taking an effect back, None for nothing.

    Of a table nothing is said: its rows can be kept in a copy.
    """
    if isinstance(effect, NewTable):
        return None
    place = f"{effect.table}.{effect.column}"
    if isinstance(effect, NewColumn) and _has_values(connection, effect):
        return f"{place} is new, and rows have values in it."
    if isinstance(effect, WiderColumn) and _exceeds(connection, effect):
        return f"{place} has values that do not fit what it was before."
    return None


def has_rows(connection: BaseDatabaseWrapper, table: str, condition: str, *params: Any) -> bool:
    """Whether a table has a row that meets a condition."""
    with connection.cursor() as cursor:
        quoted = connection.ops.quote_name(table)
        cursor.execute(f"SELECT 1 FROM {quoted} WHERE {condition} LIMIT 1", params or None)
        return cursor.fetchone() is not None


def _has_values(connection: BaseDatabaseWrapper, effect: NewColumn) -> bool:
    column = connection.ops.quote_name(effect.column)
    if not effect.is_default_known:
        return has_rows(connection, effect.table, "1 = 1")
    if effect.default is None:
        return has_rows(connection, effect.table, f"{column} IS NOT NULL")
    value = effect.field.get_db_prep_save(effect.default, connection)
    type_ = effect.field.db_type(connection) or ""
    # A NULL is no value: old code, which does not know the column, leaves it out.
    differs = database_for(connection.alias).differs(column, type_)
    return has_rows(connection, effect.table, f"{column} IS NOT NULL AND {differs}", value)


def _exceeds(connection: BaseDatabaseWrapper, effect: WiderColumn) -> bool:
    column = connection.ops.quote_name(effect.column)
    limits = {
        f"{column} IS NULL": effect.not_null or None,
        f"length({column}) > {effect.max_length}": effect.max_length,
        f"round({column}, {effect.decimal_places}) <> {column}": effect.decimal_places,
        f"abs({column}) >= 1{'0' * (effect.whole_digits or 0)}": effect.whole_digits,
    }
    return any(
        has_rows(connection, effect.table, condition)
        for condition, limit in limits.items()
        if limit is not None
    )
