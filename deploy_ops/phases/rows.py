"""The rows that wait for the contract phase, in the database that they describe.

Written with the connection and in the transaction that migrates, by SQL of their own: a migration
of the application may run before deploy_ops has a newer column.
"""

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.errors import NoContractTable
from deploy_ops.models import ContractRow
from deploy_ops.phases.where import Place
from deploy_ops.version import code_version

_INSERT = """
    INSERT INTO deploy_ops_contractrow (app, migration, path, relation, description, release,
        created_at, skipped_because, attempts, last_error)
    VALUES (%s, %s, %s, %s, %s, %s, now(), '', 0, '')
    ON CONFLICT (app, migration, path) DO UPDATE SET relation = excluded.relation,
        description = excluded.description, release = excluded.release,
        created_at = excluded.created_at, done_at = NULL, skipped_because = ''
"""
_DELETE = "DELETE FROM deploy_ops_contractrow WHERE app = %s AND migration = %s AND path = %s"
_STATE = """
    SELECT done_at IS NOT NULL FROM deploy_ops_contractrow
    WHERE app = %s AND migration = %s AND path = %s
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row says besides its place: its table, and in words what waits."""

    table: str | None
    description: str


def check_table(connection: BaseDatabaseWrapper) -> None:
    """Raise NoContractTable if the migrations of deploy_ops have not made it yet."""
    if ContractRow._meta.db_table not in connection.introspection.table_names():
        raise NoContractTable()


def add_row(connection: BaseDatabaseWrapper, place: Place, entry: Entry) -> None:
    """Let an operation wait; again after a kill changes nothing more."""
    table = connection.ops.quote_name(entry.table) if entry.table else None
    values = [place.app, place.migration, place.path, table, entry.description, code_version()]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)


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
