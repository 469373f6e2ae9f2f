"""What the file is made of, as SQLite keeps it."""

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.base import Schema

KEPT_PREFIX = "deploy_ops_kept_"
SCHEMA = f"""
    SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master
    WHERE substr(name, 1, 7) <> 'sqlite_'
      AND substr(tbl_name, 1, {len(KEPT_PREFIX)}) <> '{KEPT_PREFIX}' ORDER BY 1
"""


def read_schema(connection: BaseDatabaseWrapper) -> Schema:
    """Every statement that made an object, without the tables that a recovery has kept."""
    with connection.cursor() as cursor:
        cursor.execute(SCHEMA)
        return Schema(tuple(line for (line,) in cursor.fetchall()))
