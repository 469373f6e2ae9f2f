"""What the write-ahead log says about writes to user tables, read with pg_walinspect.

The extension is created in a transaction of the caller's connection that is rolled back, so it
need not be installed in any database, but its files must be there and the role be a superuser.
"""

from collections import Counter

import psycopg

from deploy_ops.backup.engines.base import Counts, Json
from deploy_ops.postgresql import Connection, scalar

STATEMENT_TIMEOUT_MS = 5000  # asked while clients are kept out
USABLE = """
    SELECT NOT pg_is_in_recovery()
       AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_walinspect')
"""
# One row per file and transaction. MULTI_INSERT says how many rows it holds in words that differ
# between majors, so it counts as one: enough to see that somebody wrote.
CHANGES = r"""
    SELECT (regexp_match(block_ref, 'rel \d+/\d+/(\d+) '))[1]::bigint AS file, count(*)
    FROM pg_get_wal_records_info(%s, %s)
    WHERE resource_manager IN ('Heap', 'Heap2')
      AND record_type ~ '^(INSERT|UPDATE|HOT_UPDATE|DELETE|MULTI_INSERT)'
      AND block_ref ~ ('rel \d+/' || %s || '/\d+ ')
      AND coalesce(pg_xact_status(xid::text::xid8), 'aborted') <> 'aborted'
    GROUP BY 1
"""


def changes_since(connection: Connection, mark: Json, now: Json, own: Counts) -> Counts | None:
    """Count changes of rows by table, less our own; None where the log cannot be asked."""
    if not mark["lsn"] or not scalar(connection, USABLE):
        return None
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
            where = [mark["lsn"], now["lsn"], str(now["database_oid"])]
            rows = connection.execute(CHANGES, where).fetchall()
    except psycopg.Error:
        return None  # segments recycled, too much to read in time: no opinion
    return _by_table(dict(rows), mark, now, own)


def _by_table(by_file: dict[int, int], mark: Json, now: Json, own: Counts) -> Counts:
    """Name the files; new files of tables we wrote are our rewrites, nameless ones are gone."""
    names = {table["file"]: name for name, table in now["tables"].items() if name not in own}
    names |= {table["file"]: name for name, table in mark["tables"].items()}
    names |= {
        table["file"]: name for name, table in now["tables"].items() if name not in names.values()
    }
    changes = Counter({name: -rows for name, rows in own.items()})
    for file, count in by_file.items():
        if file in names:
            changes[names[file]] += count
    return changes
