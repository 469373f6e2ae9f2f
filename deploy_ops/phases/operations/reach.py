"""Whether what is done to a table reaches all of its rows, and whoever gets them from it.

Rows of tables that inherit from it (INHERITS, not partitions) are read and written through it, and
its triggers do not fire for them. Subscribers of a publication have tables of their own.
"""

from typing import Any

from deploy_ops.errors import NotOnline
from deploy_ops.phases.backfill.updatable import why_not_updatable
from deploy_ops.phases.operations.base import Change
from deploy_ops.progress import listener

_HEIRS = """
    SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent
    WHERE inhparent = to_regclass(%s) AND relkind <> 'p' ORDER BY 1
"""
_NOT_OWN = """
    SELECT (SELECT inhparent::regclass::text FROM pg_inherits
        WHERE attinhcount > 0 AND inhrelid = attrelid ORDER BY inhseqno LIMIT 1), attgenerated <> ''
    FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s::name AND NOT attisdropped
"""
_DOMAIN = """
    SELECT atttypid::regtype::text FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
    WHERE attrelid = to_regclass(%s) AND attname = %s::name AND NOT attisdropped AND typnotnull
"""
_PUBLICATIONS = """
    SELECT quote_ident(pubname), EXISTS (SELECT FROM pg_publication_rel
        WHERE prpubid = p.oid AND prrelid = t.oid AND prattrs IS NOT NULL)
    FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = relnamespace
    JOIN pg_publication_tables AS sent ON schemaname = nspname AND tablename = relname
    JOIN pg_publication AS p USING (pubname)
    WHERE t.oid = to_regclass(%s) ORDER BY pubname
"""


def check_triggers_reach(change: Change, table: str) -> None:
    """Raise NotOnline for a table from which others inherit."""
    if heirs := [name for (name,) in _rows(change, _HEIRS, table)]:
        raise NotOnline(
            f"{', '.join(heirs)} inherits from {table}, whose triggers do not fire for those rows: "
            "what one code writes there the other would not see. Nothing was changed. Do it by "
            "Django's own operation when nobody uses the table."
        )


def check_own_column(change: Change, table: str, column: str) -> None:
    """Raise NotOnline for a column that is another table's, or that the database computes."""
    for parent, is_generated in _rows(change, _NOT_OWN, table, column):
        if parent:
            raise NotOnline(
                f"{table}.{column} is inherited from {parent}, and PostgreSQL renames and drops it "
                f"there alone. Nothing was changed. Change it in {parent} by RunSQL, with the "
                "operation of Django as state_operations."
            )
        if is_generated:
            raise NotOnline(
                f"{table}.{column} is generated in the database, whatever the models say, and no "
                "code can write it. Nothing was changed. Remove it and add it again by RunSQL in "
                "one atomic migration, with the operation of Django as state_operations."
            )


def check_fillable(change: Change, table: str, column: str) -> None:
    """Raise NotOnline where no row can be updated; the column is one that is there."""
    if why := why_not_updatable(change.connection, table, column):
        raise NotOnline(f"Rows of {table} cannot be filled: {why}")


def check_takes_null(change: Change, table: str, column: str) -> None:
    """Raise NotOnline for a type without NULL, which one of two columns has before a trigger."""
    for (domain,) in _rows(change, _DOMAIN, table, column):
        raise NotOnline(
            f"{table}.{column} is of the domain {domain}, which is NOT NULL, and an INSERT that "
            "gives the other one of two columns alone would fail. Nothing was changed. Let the "
            f"column be NOT NULL instead (SET NOT NULL), then ALTER DOMAIN {domain} DROP NOT NULL."
        )


def tell_subscribers(change: Change, table: str, column: str) -> None:
    """Say what subscribers get of a new column, before it is there."""
    if change.editor.collect_sql:
        return
    for publication, has_list in _rows(change, _PUBLICATIONS, table):
        if has_list:
            listener().say(
                f"Publication {publication} sends a list of columns of {table}, without {column}: "
                f"subscribers get nothing of it. To send it, take {table} out of {publication} "
                "and add it again with the longer list."
            )
        else:
            listener().say(
                f"Publication {publication} sends {column} of {table} with the next row that is "
                "written. A subscriber of PostgreSQL without such a column stops there, and goes "
                "on once it has one."
            )


def _rows(change: Change, sql: str, *names: Any) -> list[tuple[Any, ...]]:
    table, *others = names
    with change.connection.cursor() as cursor:
        cursor.execute(sql, [change.quote(table), *others])
        return list(cursor.fetchall())
