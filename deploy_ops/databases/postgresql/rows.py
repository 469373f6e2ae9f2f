"""Tables of the migrating session: locked, kept, and the indexes on them."""

from datetime import UTC, datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.base import IndexState, RowCounts
from deploy_ops.databases.values import TableWork
from deploy_ops.databases.postgresql.names import name_beside
from deploy_ops.databases.postgresql.schema import KEPT_SCHEMA
from deploy_ops.databases.postgresql.transactions import LOOK

FAMILY = """
    WITH RECURSIVE family AS (
        SELECT to_regclass(quote_ident(name))::oid AS oid FROM unnest(%s::text[]) AS name
        UNION SELECT inhrelid FROM pg_inherits JOIN family ON family.oid = inhparent)
    SELECT oid::bigint FROM family WHERE oid IS NOT NULL
"""
WORK = """
    SELECT oid::bigint, coalesce(pg_relation_filenode(oid), 0), pg_table_size(oid),
        coalesce(pg_stat_get_numscans(oid), 0)
    FROM pg_class WHERE relkind IN ('r', 'm') AND oid >= 16384
"""
INDEX = """
    SELECT index.oid::bigint, owner.relname, indisvalid AND indisready AND indislive,
           EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = index.oid)
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
    JOIN pg_class AS owner ON owner.oid = indrelid
    WHERE index.oid = to_regclass(quote_ident(%s))
"""


def has_table(connection: BaseDatabaseWrapper, name: str) -> bool:
    """Whether the session finds a table under a name that needs no schema."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", [name])
        return bool(cursor.fetchone()[0])


def lock_tables(connection: BaseDatabaseWrapper, names: list[str]) -> None:
    """Keep everybody else out of the tables until the transaction ends.

    No policy may hide rows from this session until then: what is looked at must be all there is.
    """
    if names:
        listed = ", ".join(map(connection.ops.quote_name, names))
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")
            cursor.execute("SET LOCAL row_security = off")  # an error where a policy applies


def keep_rows(connection: BaseDatabaseWrapper, name: str) -> str | None:
    """Copy a table's rows to a kept table and return its name; None if it has no rows."""
    quoted = connection.ops.quote_name(name)
    kept = name_beside(name, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {quoted} LIMIT 1")
        if cursor.fetchone() is None:
            return None
        cursor.execute("SELECT to_regnamespace(%s) IS NULL", [KEPT_SCHEMA])
        if cursor.fetchone()[0]:
            cursor.execute(f"CREATE SCHEMA {KEPT_SCHEMA}")
        target = f"{KEPT_SCHEMA}.{connection.ops.quote_name(kept)}"
        cursor.execute(f"CREATE TABLE {target} AS TABLE {quoted}")
    return target


def partitions_of(connection: BaseDatabaseWrapper, names: list[str]) -> frozenset[int]:
    """The tables with everything that is attached to them or inherits from them, by number."""
    with connection.cursor() as cursor:
        cursor.execute(FAMILY, [names])
        return frozenset(oid for (oid,) in cursor.fetchall())


def rows_of_transaction(connection: BaseDatabaseWrapper) -> RowCounts:
    """Rows that the open transaction has changed so far, by table."""
    with connection.cursor() as cursor:
        cursor.execute(LOOK)
        return dict(cursor.fetchone()[-1])


def table_work(connection: BaseDatabaseWrapper) -> dict[int, TableWork]:
    """What was done to each table so far, by its number; counters of this session included."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")  # takes effect when it is idle
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(WORK)
        return {oid: TableWork(*values) for oid, *values in cursor.fetchall()}


def index_state(connection: BaseDatabaseWrapper, name: str) -> IndexState | None:
    """What is known of an index; None if there is none of that name."""
    with connection.cursor() as cursor:
        cursor.execute(INDEX, [name])
        row = cursor.fetchone()
    return IndexState(*row) if row else None


def drop_index(connection: BaseDatabaseWrapper, name: str) -> None:
    """Drop an index without making others wait."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX CONCURRENTLY {connection.ops.quote_name(name)}")
