"""Whether an index or a check that has the name already is the one that is to be made."""

from collections.abc import Callable
from typing import Any

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

MAY_HIDE = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
IS_HIDDEN = "SELECT relpersistence = 't' FROM pg_class WHERE oid = to_regclass(%s)"


def check_same(change: Change, table: str, name: str, sql: str, make: Callable[[], None]) -> None:
    """Raise NotOnline if what is called so is another one than `make` makes, by its definition.

    It is made on an empty table of the same name and columns, which hides the real one from this
    session for a moment. Where nothing can hide it (a name with its schema, a role that may make no
    temporary table, a search_path that looks there last), the name has to do.
    """
    if split_identifier(table)[0] or not _ask(change, MAY_HIDE):
        return
    quoted = change.quote(table)
    is_there = _definition(change, sql, quoted, name)
    with transaction.atomic(change.connection.alias):
        with change.connection.cursor() as cursor:
            cursor.execute(f"CREATE TEMPORARY TABLE {quoted} (LIKE {quoted} INCLUDING GENERATED)")
        wanted = is_there
        if _ask(change, IS_HIDDEN, quoted):
            make()
            wanted = _definition(change, sql, quoted, name)
        transaction.set_rollback(True, change.connection.alias)
    if is_there != wanted:
        raise NotOnline(
            f"{table} already has something named {name}, and it is not what this makes.\n"
            f"    there:  {is_there}\n"
            f"    wanted: {wanted}\n"
            "Nothing was changed. Rename or drop what is there, or choose another name."
        )


def _definition(change: Change, sql: str, table: str, name: str) -> str | None:
    found = _ask(change, sql, table, name)
    return found and str(found).removesuffix(" NOT VALID")


def _ask(change: Change, sql: str, *params: str) -> Any:
    with change.connection.cursor() as cursor:
        cursor.execute(sql, params)
        row = cursor.fetchone()
    return row and row[0]
