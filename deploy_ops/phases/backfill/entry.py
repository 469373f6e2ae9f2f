"""The row of a backfill: written before anything is filled, removed when it is forgotten."""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.advice import manage
from deploy_ops.errors import BackfillRefused
from deploy_ops.phases.backfill.filling import Filling
from deploy_ops.version import code_version

# Of BackfillProgress, which cannot be imported before settings are read.
TABLE = "deploy_ops_backfillprogress"
_FIND = "SELECT id FROM deploy_ops_backfillprogress WHERE name = %s"
_UNFINISHED = """
    SELECT name FROM deploy_ops_backfillprogress
    WHERE (%s::text IS NULL OR relation = to_regclass(%s))
        AND done_at IS NULL AND cancelled_at IS NULL ORDER BY id
"""
_NUMBERS = """
    SELECT concat_ws('.', %s::regclass::oid, string_agg(attnum::text, '.' ORDER BY attnum))
    FROM pg_attribute WHERE attrelid = %s::regclass AND attname = ANY(%s::text[])
"""
_REGISTER = """
    INSERT INTO deploy_ops_backfillprogress (name, relation, description, rows_total, rows_read,
        rows_written, release, created_at, waits_for, last_error)
    VALUES (%s, %s::regclass, %s, 0, 0, 0, %s, now(), '', '') ON CONFLICT (name) DO NOTHING
"""


def register(connection: BaseDatabaseWrapper, name: str, filling: Filling) -> int:
    """Write the row of a backfill, unless there is one; return its number."""
    check_table(connection)
    table = connection.ops.quote_name(filling.table)
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [name])
        if not (found := cursor.fetchone()):  # else the INSERT would wait for who has it locked
            cursor.execute(_REGISTER, [name, table, str(filling), code_version()])
            cursor.execute(_FIND, [name])
            found = cursor.fetchone()
        return int(found[0])


def name_of(connection: BaseDatabaseWrapper, filling: Filling) -> str:
    """A name for these columns of this table, whatever was called so before."""
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(filling.table)
        cursor.execute(_NUMBERS, [table, table, list(filling.columns)])
        return f"{_prefix(filling)}{cursor.fetchone()[0]}"


def forget_filling(connection: BaseDatabaseWrapper, filling: Filling) -> None:
    """Remove the rows of a filling and of those of the same name: its columns may change anew."""
    with transaction.atomic(connection.alias), connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM deploy_ops_backfillprogress WHERE starts_with(name, %s)",
            [_prefix(filling)],
        )
        for (name,) in cursor.fetchall():
            forget(connection, name)


def _prefix(filling: Filling) -> str:
    # With "#" it would read as the place of an operation, which workers take up by its name.
    return f"{filling.table}.{','.join(filling.columns)}@"


def forget(connection: BaseDatabaseWrapper, name: str) -> None:
    """Remove the rows of a backfill; it would begin anew."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM deploy_ops_backfillrange WHERE backfill_id IN"
            " (SELECT id FROM deploy_ops_backfillprogress WHERE name = %s)",
            [name],
        )
        cursor.execute("DELETE FROM deploy_ops_backfillprogress WHERE name = %s", [name])


def unfinished(connection: BaseDatabaseWrapper, table: str | None = None) -> list[str]:
    """Names of the backfills of a table, or of all, that are to be run, or run on."""
    if connection.vendor != "postgresql" or not is_there(connection):
        return []
    with connection.cursor() as cursor:
        cursor.execute(_UNFINISHED, [table and connection.ops.quote_name(table)] * 2)
        return [name for (name,) in cursor.fetchall()]


def is_unfinished(connection: BaseDatabaseWrapper, name: str) -> bool:
    """Whether a backfill is to be run, or run on; somebody may have cancelled or reversed it."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_FIND} AND done_at IS NULL AND cancelled_at IS NULL", [name])
        return cursor.fetchone() is not None


def check_table(connection: BaseDatabaseWrapper) -> None:
    """Raise BackfillRefused if the migrations of deploy_ops have not made the table yet."""
    if not is_there(connection):
        raise BackfillRefused(
            f"The table {TABLE}, in which backfills keep their progress, is missing. Nothing was "
            "changed. Apply the migrations of deploy_ops first:\n"
            f"{manage('safe_migrate', 'deploy_ops', alias=connection.alias)}\n"
            "and let this migration depend on them, so that they always come before it:\n"
            '    dependencies = [("deploy_ops", "0003_backfill"), ...]'
        )


def is_there(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database has the table of the progress."""
    return TABLE in connection.introspection.table_names()
