"""Whether tables that newer code has changed still have what this code reads and writes.

The catalog is asked, not a record of who migrated what: a record is written before or after the
change, and an instance that looks in between would be told something false.
"""

from collections.abc import Iterable, Mapping
from functools import cache

from django.apps import apps
from django.db import connections, router

from deploy_ops.health.connections import connection_to

Columns = Mapping[str, frozenset[str]]
LONGEST_BYTES = 63  # of a name in PostgreSQL, which cuts off the rest
# Whether the table is the one that its bare name finds, and its columns.
_POSTGRESQL = """
    SELECT relname, pg_table_is_visible(relation.oid), array_agg(attname::text)
    FROM pg_class AS relation JOIN pg_attribute ON attrelid = relation.oid
    WHERE relname = ANY (ARRAY[{}]::name[]) AND relkind IN ('r', 'p', 'v', 'm', 'f')
        AND attnum > 0 AND NOT attisdropped
    GROUP BY relation.oid ORDER BY 2
"""
_SQLITE = """
    SELECT lower(relation.name), lower(column.name) FROM sqlite_master AS relation,
        pragma_table_xinfo(relation.name) AS column WHERE relation.type IN ('table', 'view')
"""


def missing_columns(alias: str, migrated: Iterable[str]) -> list[str]:
    """Columns that models of these apps have and the database lacks, as `table.column`."""
    needed = _needed(alias, frozenset(migrated))
    there = _there(alias, needed)
    return [
        f"{table}.{column}"
        for table, columns in needed.items()
        for column in sorted(columns - there.get(table, frozenset()))
    ]


@cache
def _needed(alias: str, migrated: frozenset[str]) -> Columns:
    """What this code uses; its models do not change in the life of a process.

    A name with a quote in it is no plain name, but SQL that leads to another schema.
    """
    connection = connections[alias]
    found: dict[str, frozenset[str]] = {}
    for model in apps.get_models(include_auto_created=True):
        options = model._meta
        is_ours = options.app_label in migrated and options.can_migrate(connection)
        if is_ours and router.allow_migrate_model(alias, model) and '"' not in options.db_table:
            columns = (each.column for each in options.local_concrete_fields if each.column)
            found[_stored(alias, options.db_table)] = frozenset(
                _stored(alias, column) for column in columns
            )
    return found


def _stored(alias: str, name: str) -> str:
    """A name as the catalog has it."""
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        return name.lower()
    if vendor != "postgresql":
        return connections[alias].introspection.identifier_converter(name)
    return name.encode()[:LONGEST_BYTES].decode(errors="ignore")


def _there(alias: str, needed: Columns) -> Columns:
    """What the database has. The table that a bare name finds comes last, and counts; where there
    is none, the application may find another one by a search_path that this session has not."""
    connection, vendor = connection_to(alias, "migrations"), connections[alias].vendor
    if vendor not in ("sqlite", "postgresql"):
        return _introspected(alias, needed)
    if vendor == "sqlite":
        found: dict[str, set[str]] = {}
        for table, column in connection.rows(_SQLITE):
            found.setdefault(table, set()).add(column)
        return {table: frozenset(columns) for table, columns in found.items()}
    names = ", ".join("'" + table.replace("'", "''") + "'" for table in needed)
    rows = connection.rows(_POSTGRESQL.format(names))
    return {table: frozenset(columns) for table, _, columns in rows}


def _introspected(alias: str, needed: Columns) -> Columns:
    """The same of a kind of database whose catalog only Django knows."""
    introspection = connections[alias].introspection
    with connections[alias].cursor() as cursor:
        there = set(introspection.table_names(cursor, include_views=True)) & set(needed)
        return {
            table: frozenset(
                column.name for column in introspection.get_table_description(cursor, table)
            )
            for table in there
        }
