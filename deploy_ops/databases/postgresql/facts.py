"""What a migration meets in a database, read from its catalog."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.facts import Column, Constraint, Facts, TableFacts
from deploy_ops.databases.postgresql.user_tables import IN_USER_SCHEMA

# A partitioned table has the rows and bytes of its partitions. reltuples is what ANALYZE saw,
# -1 if it never ran; the table has grown since, so it is scaled to the pages of today.
TABLES = f"""
    SELECT relation.relname, nspname, pg_table_is_visible(relation.oid), relation.relkind,
        CASE WHEN bool_and(part.relpages > 0 OR pg_relation_size(part.oid) = 0)
            THEN sum(greatest(part.reltuples, 0) / greatest(part.relpages, 1)
                * (pg_relation_size(part.oid) / current_setting('block_size')::int))::bigint END,
        sum(pg_relation_size(part.oid))::bigint, sum(pg_total_relation_size(part.oid))::bigint
    FROM pg_class AS relation
        JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
        CROSS JOIN LATERAL (SELECT relation.oid UNION SELECT relid
            FROM pg_partition_tree(relation.oid)) AS tree (oid)
        JOIN pg_class AS part ON part.oid = tree.oid
    WHERE relation.relkind IN ('r', 'p', 'm') AND {IN_USER_SCHEMA}
    GROUP BY 1, 2, 3, 4
"""
CHECKS = """
    SELECT relname, attname, pg_get_constraintdef(constraint_.oid), convalidated
    FROM pg_constraint AS constraint_ JOIN pg_class AS relation ON relation.oid = conrelid
        JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY(conkey)
    WHERE contype = 'c' AND pg_table_is_visible(relation.oid)
"""
CONSTRAINTS = """
    SELECT relation.relname, conname, contype::text, convalidated, parent.relname
    FROM pg_constraint JOIN pg_class AS relation ON relation.oid = conrelid
        LEFT JOIN pg_class AS parent ON parent.oid = confrelid
    WHERE pg_table_is_visible(relation.oid)
"""
VIEWS = """
    SELECT DISTINCT relation.relname, attname, view.relname
    FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid AND classid = 'pg_rewrite'::regclass
        JOIN pg_class AS view ON view.oid = ev_class
        JOIN pg_class AS relation ON relation.oid = refobjid
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND view.oid <> relation.oid
        AND pg_table_is_visible(relation.oid)
"""
INDEXES = """
    SELECT index.relname, relation.relname
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
        JOIN pg_class AS relation ON relation.oid = indrelid
    WHERE pg_table_is_visible(index.oid)
"""
INDEXED = """
    SELECT DISTINCT relname, attname FROM pg_index JOIN pg_class AS relation
        ON relation.oid = indrelid JOIN pg_attribute ON attrelid = indrelid
        AND attnum = ANY(indkey)
    WHERE pg_table_is_visible(relation.oid)
"""
PARENTS = """
    SELECT DISTINCT child.relname, parent.relname
    FROM pg_constraint JOIN pg_class AS child ON child.oid = conrelid
        JOIN pg_class AS parent ON parent.oid = confrelid
    WHERE contype = 'f' AND conrelid <> confrelid AND pg_table_is_visible(child.oid)
"""
TYPES = f"""
    SELECT relname, attname, format_type(atttypid, atttypmod)
    FROM pg_attribute JOIN pg_class AS relation ON relation.oid = attrelid
        JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND {IN_USER_SCHEMA}
        AND pg_table_is_visible(relation.oid)
"""
VOLATILE = "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v'"
PROVES_NOT_NULL = re.compile(r'CHECK \(+(?:"(?:[^"]|"")+"|\w+) IS NOT NULL\)+$')


def read_facts(connection: BaseDatabaseWrapper) -> Facts:
    """Read all of it, in a few queries that lock nothing anybody waits for."""
    checks = _rows(connection, CHECKS)
    return Facts(
        server_version=int(connection.pg_version),  # type: ignore[attr-defined]
        tables=_tables(_rows(connection, TABLES)),
        not_null=_proven(checks),
        checked=frozenset((table, column) for table, column, *_ in checks),
        indexed=frozenset(_rows(connection, INDEXED)),
        views=_views(_rows(connection, VIEWS)),
        indexes=dict(_rows(connection, INDEXES)),
        parents=_parents(_rows(connection, PARENTS)),
        constraints={
            (table, name): Constraint(*rest)
            for table, name, *rest in _rows(connection, CONSTRAINTS)
        },
        types={(table, name): kind for table, name, kind in _rows(connection, TYPES)},
        is_complete=True,
        volatile=frozenset(name for (name,) in _rows(connection, VOLATILE)),
    )


def _rows(connection: BaseDatabaseWrapper, query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _tables(rows: Iterable[tuple[object, ...]]) -> dict[str, TableFacts]:
    found = {}
    for name, schema, is_visible, kind, *numbers in rows:
        count, heap, total = (None if each is None else int(str(each)) for each in numbers)
        facts = TableFacts(count, heap or 0, total or 0, str(kind))
        found[f"{schema}.{name}"] = facts
        if is_visible:
            found[str(name)] = facts
    return found


def _proven(checks: Iterable[tuple[str, ...]]) -> frozenset[Column]:
    return frozenset(
        (table, column)
        for table, column, definition, is_valid in checks
        if is_valid and PROVES_NOT_NULL.match(definition)
    )


def _views(rows: Iterable[tuple[str, ...]]) -> dict[Column, tuple[str, ...]]:
    found: dict[Column, tuple[str, ...]] = defaultdict(tuple)
    for table, column, view in rows:
        found[table, column] += (view,)
    return dict(found)


def _parents(rows: Iterable[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for child, parent in rows:
        found[child] += (parent,)
    return dict(found)
