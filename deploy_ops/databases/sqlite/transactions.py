"""What became of a transaction of the migrating connection: told by a marker written in it.

SQLite numbers no transactions. So a table is made first thing in the transaction and dropped as
the last thing before COMMIT: after that it is there only if something else committed in between.
A savepoint behind it tells whether the connection is still in the same transaction.
"""

import secrets
import sqlite3

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases.base import Ended, Outcome

MARKER = "deploy_ops_transaction_"
SAVEPOINT = "deploy_ops_begin"


def begin(connection: BaseDatabaseWrapper) -> str:
    """Return the name of the marker, made in the transaction that has just been opened."""
    marker = f"{MARKER}{secrets.token_hex(8)}"
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE TABLE "{marker}" (x)')
        cursor.execute(f"SAVEPOINT {SAVEPOINT}")
    return marker


def before_commit(connection: BaseDatabaseWrapper, marker: str) -> Ended:
    """Look at the transaction right before its COMMIT, and take the marker out of it."""
    raw: sqlite3.Connection = connection.connection
    if not _tries(raw, f"RELEASE {SAVEPOINT}"):
        return Ended(is_same=False, rows={})
    raw.execute(f'DROP TABLE "{marker}"')
    return Ended(is_same=True, rows={})


def after_failure(connection: BaseDatabaseWrapper, marker: str) -> Ended:
    """Look at the transaction after a failure; a full disk or a busy file may have ended it.

    Then the marker has gone with it: what is seen of it now tells the two apart.
    """
    raw: sqlite3.Connection | None = connection.connection
    if raw is None:
        return Ended(is_same=None, rows={})
    if raw.in_transaction and _tries(raw, f"ROLLBACK TO {SAVEPOINT}"):
        return Ended(is_same=True, rows={})
    return Ended(is_same=False if raw.in_transaction or _exists(raw, marker) else None, rows={})


def outcome(connection: BaseDatabaseWrapper, marker: str) -> Outcome:
    """COMMITTED if the marker stayed, so that something else than us ended the transaction."""
    with connection.cursor():
        return Outcome.COMMITTED if _exists(connection.connection, marker) else Outcome.ABORTED


def forget(connection: BaseDatabaseWrapper, marker: str) -> None:
    """Drop a marker that stayed."""
    with connection.cursor() as cursor:
        cursor.execute(f'DROP TABLE IF EXISTS "{marker}"')


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection is in a transaction at all."""
    return connection.connection is not None and connection.connection.in_transaction


def _exists(raw: sqlite3.Connection, marker: str) -> bool:
    found = raw.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [marker])
    return found.fetchone() is not None


def _tries(raw: sqlite3.Connection, statement: str) -> bool:
    try:
        raw.execute(statement)
    except sqlite3.OperationalError:
        return False
    return True
