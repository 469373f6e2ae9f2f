"""What the write-ahead log says about writes to user tables, read with pg_walinspect.

The log is the server's: it is read from the maintenance database, so that making the extension
there for a moment, in a transaction that is rolled back, leaves no trace in the counters of the
database that is looked at. Its files must be there and the role be a superuser. It tells what it
sees and proves nothing by what it does not see: TRUNCATE and DROP are other records.
"""

from collections import Counter
from collections.abc import Mapping

import psycopg

from deploy_ops.databases.base import Counts, RowCounts
from deploy_ops.databases.postgresql.server import Connection, Server, scalar
from deploy_ops.databases.postgresql.write_position import Table, WritePosition
from deploy_ops.errors import DatabaseUnavailable

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


def changes_since(
    server: Server, then: WritePosition, now: WritePosition, own: RowCounts
) -> Counts:
    """Count changes of rows by table, less our own; empty too where the log cannot be asked."""
    try:
        with server.maintenance(application_name="deploy_ops/wal") as connection:
            if then.lsn and scalar(connection, USABLE, [then.lsn, READABLE_BYTES]):
                return _by_table(_read(connection, then.lsn, now.database_oid), then, now, own)
    except (psycopg.Error, DatabaseUnavailable):
        pass  # segments recycled, or too much to read in time: no opinion
    return {}


def _read(connection: Connection, since: str, database_oid: int) -> Mapping[int, int]:
    _flush(connection)
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        rows = connection.execute(CHANGES, [since, database_oid]).fetchall()
    return {int(file): int(count) for file, count in rows}


def _flush(connection: Connection) -> None:
    """Others' last commits may be asynchronous and only the flushed log can be read."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'deploy_ops', '')")


def _by_table(
    by_file: Mapping[int, int], then: WritePosition, now: WritePosition, own: RowCounts
) -> dict[str, int]:
    """Give the files their tables' names; a new file of a table that we wrote is our own."""
    tables: dict[int, tuple[int, Table]] = {}
    for at in (now, then):
        for oid, table in at.tables.items():
            if table.file and not table.is_catalog and (at is then or oid not in own):
                tables[table.file] = (oid, table)
    changes = Counter({table.name: -own.get(oid, 0) for oid, table in tables.values()})
    for file, count in by_file.items():
        if file in tables:
            changes[tables[file][1].name] += count
    return {name: n for name, n in sorted(changes.items()) if n > 0}
