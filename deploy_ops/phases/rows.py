"""The rows that wait for the contract phase, in the database that they describe.

Written with the connection and in the transaction that migrates, by SQL of their own: a migration
of the application may run before deploy_ops has a newer column.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import atomic

from deploy_ops.advice import manage
from deploy_ops.errors import NoContractTable
from deploy_ops.phases.where import Place
from deploy_ops.version import code_version

TABLE = (
    "deploy_ops_contractrow"  # of ContractRow, which cannot be imported before settings are read
)
_INSERT = f"""
    INSERT INTO {TABLE} (app, migration, path, relation, description, release,
        operation, created_at, skipped_because, attempts, last_error)
    VALUES (%s, %s, %s, %s, %s, %s, %s, now(), '', 0, '')
    ON CONFLICT (app, migration, path) DO UPDATE SET relation = excluded.relation,
        operation = excluded.operation, description = excluded.description, release = excluded.release,
        created_at = excluded.created_at, done_at = NULL, skipped_because = ''
"""
# Its column came later than the table.
_PUT_OFF = f"UPDATE {TABLE} SET waits_for = %s WHERE app = %s AND migration = %s AND path = %s"
_HAS_PUT_OFF = """
    SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s)
        AND attname = 'waits_for' AND NOT attisdropped)
"""
_DELETE = f"DELETE FROM {TABLE} WHERE app = %s AND migration = %s AND path = %s"
_STATE = f"""
    SELECT done_at IS NOT NULL FROM {TABLE}
    WHERE app = %s AND migration = %s AND path = %s
"""


# The name that the table has now: it may have been renamed since.
_ROWS = f"""
    SELECT id, app, migration, path, done_at IS NOT NULL AS is_done, relname, operation,
        description, release, created_at, skipped_because, attempts, last_error, done_at,
        coalesce(to_jsonb({TABLE}) ->> 'waits_for', '') AS waits_for
    FROM {TABLE} LEFT JOIN pg_class ON pg_class.oid = relation
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An operation whose contract waits, or has run (`done_at`); `table` is its name of now.

    `waits_for` is the backfill that has to be done before; then all of it waits.
    """

    place: Place
    table: str | None
    operation: str
    description: str
    release: str
    created_at: datetime
    skipped_because: str
    attempts: int
    last_error: str
    done_at: datetime | None
    waits_for: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row says besides its place: its table, and in words what waits."""

    table: str | None
    description: str


def check_table(connection: BaseDatabaseWrapper) -> None:
    """Raise NoContractTable if the migrations of deploy_ops have not made it yet."""
    if not has_table(connection):
        raise _no_table(connection, "0002_contract_rows")


def _no_table(connection: BaseDatabaseWrapper, migration: str) -> NoContractTable:
    return NoContractTable(
        f"The table {TABLE}, which records what waits for the contract phase, is missing or too "
        "old. Nothing was changed. Apply the migrations of deploy_ops first:\n"
        f"{manage('safe_migrate', 'deploy_ops', alias=connection.alias)}\n"
        "and let this migration depend on them, so that they always come before it:\n"
        f'    dependencies = [("deploy_ops", "{migration}"), ...]'
    )


def has_table(connection: BaseDatabaseWrapper) -> bool:
    """Whether the migrations of deploy_ops have made the table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [TABLE])
        return bool(cursor.fetchone()[0])


def add_row(connection: BaseDatabaseWrapper, place: Place, entry: Entry, operation: str) -> None:
    """Let an operation wait; again after a kill changes nothing more."""
    table = connection.ops.quote_name(entry.table) if entry.table else None
    values = [place.app, place.migration, place.path, table, entry.description, code_version()]
    values.append(operation)
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)


def put_off(
    connection: BaseDatabaseWrapper, place: Place, entry: Entry, operation: str, backfill: str
) -> None:
    """Let all of an operation wait until a backfill is done; raises NoContractTable."""
    with connection.cursor() as cursor:
        cursor.execute(_HAS_PUT_OFF, [TABLE])
        if not cursor.fetchone()[0]:
            raise _no_table(connection, "0005_contractrow_waits_for")
    with atomic(connection.alias):
        add_row(connection, place, entry, operation)
        with connection.cursor() as cursor:
            cursor.execute(_PUT_OFF, [backfill, place.app, place.migration, place.path])


def remove_row(connection: BaseDatabaseWrapper, place: Place) -> None:
    """Forget an operation that is reversed."""
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, [place.app, place.migration, place.path])


def is_waiting(connection: BaseDatabaseWrapper, place: Place) -> bool | None:
    """Whether the contract of an operation is still to come; None if there is no row of it."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE, [place.app, place.migration, place.path])
        row = cursor.fetchone()
    return None if row is None else not row[0]


def waiting_rows(connection: BaseDatabaseWrapper) -> list[Row]:
    """All rows whose contract is still to come, oldest first."""
    return _read(connection, "NOT is_done")


def done_rows(connection: BaseDatabaseWrapper) -> list[Row]:
    """All rows whose contract has run, oldest first."""
    return _read(connection, "is_done")


def mark_done(connection: BaseDatabaseWrapper, place: Place) -> None:
    """Note that a contract has run; in its transaction, where it has one."""
    # A table that is gone would be written into a backup as a number, which another one may have in
    # the database that it is restored into.
    gone = "relation = (SELECT oid FROM pg_class WHERE oid = relation)"
    _update(connection, f"done_at = now(), attempts = attempts + 1, last_error = '', {gone}", place)


def note_failure(connection: BaseDatabaseWrapper, place: Place, error: str) -> None:
    """Note why a contract failed, for whoever looks at what waits."""
    _update(connection, "attempts = attempts + 1, last_error = %s", place, error)


def set_skipped(connection: BaseDatabaseWrapper, place: Place, reason: str) -> None:
    """Leave an operation out, or with an empty reason no longer."""
    _update(connection, "skipped_because = %s", place, reason)


def done_places(connection: BaseDatabaseWrapper) -> frozenset[Place]:
    """Operations whose contract has run."""
    return frozenset(row.place for row in done_rows(connection))


def _update(connection: BaseDatabaseWrapper, values: str, place: Place, *params: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET {values} " "WHERE app = %s AND migration = %s AND path = %s",
            [*params, place.app, place.migration, place.path],
        )


def _read(connection: BaseDatabaseWrapper, condition: str) -> list[Row]:
    if connection.vendor != "postgresql" or not has_table(connection):
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({_ROWS}) AS row WHERE {condition} ORDER BY id")
        return [Row(Place(*row[1:4]), *row[5:]) for row in cursor.fetchall()]
