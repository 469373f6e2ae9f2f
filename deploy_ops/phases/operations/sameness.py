"""Whether an index or a check that has the name already is the one that is to be made."""

from collections.abc import Callable

from django.db import transaction
from django.db.backends.utils import split_identifier

from deploy_ops.errors import NotOnline
from deploy_ops.phases.operations.base import Change

INDEX = """
    SELECT regexp_replace(pg_get_indexdef(index.oid), '^.*? USING ', '') || ' ' || indisunique
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
    WHERE indrelid = to_regclass(%s) AND index.relname = %s::name
"""
CHECK = """
    SELECT pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = to_regclass(%s) AND conname = %s::name
"""


def check_same(change: Change, table: str, name: str, sql: str, make: Callable[[], None]) -> None:
    """Raise NotOnline if what is called so is another one than `make` makes, by its definition.

    It is made on an empty table of the same name and columns, which hides the real one from this
    session for a moment.
    """
    if split_identifier(table)[0]:
        return  # a name with its schema cannot be hidden
    quoted = change.quote(table)
    is_there = _definition(change, sql, quoted, name)
    with transaction.atomic(change.connection.alias):
        with change.connection.cursor() as cursor:
            cursor.execute(f"CREATE TEMPORARY TABLE {quoted} (LIKE {quoted} INCLUDING GENERATED)")
        make()
        wanted = _definition(change, sql, quoted, name)
        transaction.set_rollback(True, change.connection.alias)
    if is_there != wanted:
        raise NotOnline(
            f"{table} has something of the name {name} already, and it is not what this makes.\n"
            f"    there:  {is_there}\n"
            f"    wanted: {wanted}\n"
            "Nothing was changed. Rename or drop what is there, or choose another name."
        )


def _definition(change: Change, sql: str, table: str, name: str) -> str | None:
    with change.connection.cursor() as cursor:
        cursor.execute(sql, [table, name])
        row = cursor.fetchone()
    return row and str(row[0]).removesuffix(" NOT VALID")
