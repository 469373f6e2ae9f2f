"""Whether tables that newer code has changed still have what this code reads and writes.

The catalog is asked, not a record of who migrated what: a record is written before or after the
change, and an instance that looks in between would be told something false. Asked in one statement
that names every column of this code and brings back those that are missing.
"""

from collections.abc import Iterable, Iterator
from functools import cache

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases import database_for
from deploy_ops.health.connections import connection_to

_MISSING = {
    # A longer name is cut off, there as here. A table that is there in another schema only is one
    # that the application finds by a search_path which this session has not: nothing is known of it.
    "postgresql": "SELECT held, wanted FROM (VALUES {}) AS code (held, relation, wanted)"
    " WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(relation)"
    " AND attname = wanted::name AND NOT attisdropped) AND (to_regclass(relation) IS NOT NULL"
    " OR NOT EXISTS (SELECT FROM pg_class WHERE relname = held::name))",
    "sqlite": "WITH code (held, relation, wanted) AS (VALUES {}) SELECT held, wanted FROM code"
    " WHERE NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(relation)"
    " WHERE name = wanted COLLATE NOCASE)",
}


def missing_columns(alias: str, migrated: Iterable[str]) -> list[str]:
    """Columns that models of these apps have and the database lacks, as `table.column`."""
    statement = _statement(alias, frozenset(migrated))
    if not statement:
        return []
    found = connection_to(alias, "migrations").rows(statement)
    return [f"{table}.{column}" for table, column in found]


@cache
def _statement(alias: str, migrated: frozenset[str]) -> str:
    """The question for this code, whose models do not change in the life of a process."""
    rows = ", ".join(_rows(connections[alias], migrated))
    return _MISSING[database_for(alias).vendor].format(rows) if rows else ""


def _rows(connection: BaseDatabaseWrapper, migrated: frozenset[str]) -> Iterator[str]:
    is_quoted = connection.vendor == "postgresql"  # to_regclass() reads a name as SQL has it
    for model in apps.get_models(include_auto_created=True):
        options = model._meta
        is_ours = options.app_label in migrated and options.can_migrate(connection)
        if not is_ours or not router.allow_migrate_model(connection.alias, model):
            continue
        table = options.db_table
        relation = connection.ops.quote_name(table) if is_quoted else table
        for field in options.local_concrete_fields:
            if field.column:
                yield f"({_text(table)}, {_text(relation)}, {_text(field.column)})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
