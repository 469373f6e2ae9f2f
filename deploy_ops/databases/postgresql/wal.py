"""What the write-ahead log says about writes to user tables, read with pg_walinspect.

The extension is created in a transaction of the caller's connection that is rolled back, so it
need not be installed in any database, but its files must be there and the role be a superuser.
"""

from collections import Counter

import psycopg

from deploy_ops.databases.base import Counts, Json
from deploy_ops.databases.postgresql.server import Connection, scalar

# It is asked while clients are kept out: no more than can be read in a moment.
READABLE_BYTES = 64 * 1024 * 1024
STATEMENT_TIMEOUT_MS = 5000

USABLE = """
    SELECT NOT pg_is_in_recovery()
       AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_walinspect')
       AND pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s) <= %s
"""
# Rows by file. Files are named tablespace/database/file; the first number that MULTI_INSERT's
# description holds is its number of rows. The log has 32 bits of a transaction's number, and
# pg_xact_status wants all 64: those of the newest number that is not in the future.
CHANGES = r"""
    WITH position AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid),
    record AS (
        SELECT (regexp_match(block_ref, 'rel \d+/(\d+)/(\d+)')) AS file, record_type, description,
            CASE WHEN ((next_xid >> 32) << 32) + xid::text::bigint <= next_xid
                THEN ((next_xid >> 32) << 32) + xid::text::bigint
                ELSE ((next_xid >> 32) << 32) + xid::text::bigint - (1::bigint << 32) END AS full_xid
        FROM position, pg_get_wal_records_info(%s, pg_current_wal_flush_lsn())
        WHERE resource_manager IN ('Heap', 'Heap2') AND xid::text <> '0'
          AND record_type ~ '^(INSERT|UPDATE|HOT_UPDATE|DELETE|MULTI_INSERT)')
    SELECT file[2]::bigint, sum(CASE WHEN record_type LIKE 'MULTI%%'
        THEN substring(description FROM '\d+')::int ELSE 1 END)::int
    FROM record WHERE file[1]::bigint = %s
      AND coalesce(pg_xact_status(full_xid::text::xid8), 'committed') <> 'aborted'
    GROUP BY 1
"""


def changes_since(connection: Connection, mark: Json, now: Json, own: Counts) -> Counts | None:
    """Count changes of rows by table, less our own; None where the log cannot be asked."""
    if not mark["lsn"] or not scalar(connection, USABLE, [mark["lsn"], READABLE_BYTES]):
        return None
    try:
        _flush(connection)
        with connection.transaction(force_rollback=True):
            connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
            where = [mark["lsn"], now["database_oid"]]
            rows = connection.execute(CHANGES, where).fetchall()
    except psycopg.Error:
        return None  # segments recycled, or too much to read in time: no opinion
    return _by_table({int(file): int(count) for file, count in rows}, mark, now, own)


def _flush(connection: Connection) -> None:
    """Others' last commits may be asynchronous and only the flushed log can be read."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'deploy_ops', '')")


def _by_table(by_file: dict[int, int], mark: Json, now: Json, own: Counts) -> Counts:
    """Give the files their tables' names.

    A new file of a table we wrote is our own rewrite or creation; a file that is no table's any
    more and was none's at the mark held nothing that a restore could lose.
    """
    names = {table["file"]: name for name, table in now["tables"].items() if name not in own}
    names |= {table["file"]: name for name, table in mark["tables"].items()}
    changes = Counter({name: -own.get(name, 0) for name in mark["tables"]})
    for file, count in by_file.items():
        if file in names:
            changes[names[file]] += count
    return changes
