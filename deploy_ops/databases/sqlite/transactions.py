"""What became of a transaction of the migrating connection: told by a marker written in it.

SQLite numbers no transactions. So a table is made first thing in the transaction and dropped as
the last thing before COMMIT: after that it is there only if something else committed in between.
A savepoint behind it tells whether the connection is still in the same transaction.
"""

import secrets
import sqlite3

from deploy_ops.databases.migrating import Transactions
from deploy_ops.databases.values import Ended, Outcome

MARKER = "deploy_ops_transaction_"
SAVEPOINT = "deploy_ops_begin"


class SqliteTransactions(Transactions):
    """The transactions of Django's connection."""

    def begin(self) -> str:
        """Return the name of the marker, made in the transaction that has just been opened."""
        number = f"{MARKER}{secrets.token_hex(8)}"
        with self.connection.cursor() as cursor:
            cursor.execute(f'CREATE TABLE "{number}" (x)')
            cursor.execute(f"SAVEPOINT {SAVEPOINT}")
        return number

    def before_commit(self, number: str) -> Ended:
        """Look at the transaction right before its COMMIT, and take the marker out of it."""
        raw: sqlite3.Connection = self.connection.connection
        if not _tries(raw, f"RELEASE {SAVEPOINT}"):
            return Ended(is_same=False, rows={})
        raw.execute(f'DROP TABLE "{number}"')
        return Ended(is_same=True, rows={})

    def after_failure(self, number: str) -> Ended:
        """Look at the transaction after a failure; a full disk or a busy file may have ended it.

        Then the marker has gone with it: what is seen of it now tells the two apart.
        """
        raw: sqlite3.Connection | None = self.connection.connection
        if raw is None:
            return Ended(is_same=None, rows={})
        if raw.in_transaction and _tries(raw, f"ROLLBACK TO {SAVEPOINT}"):
            return Ended(is_same=True, rows={})
        try:
            has_left = raw.in_transaction or _exists(raw, number)
        except sqlite3.Error:  # a locked or broken file: whoever asks for the outcome will see
            has_left = False
        return Ended(is_same=False if has_left else None, rows={})

    def outcome(self, number: str) -> Outcome:
        """COMMITTED if the marker stayed, so that something else than us ended the transaction."""
        with self.connection.cursor():
            has_stayed = _exists(self.connection.connection, number)
        return Outcome.COMMITTED if has_stayed else Outcome.ABORTED

    def forget(self, number: str) -> None:
        """Drop a marker that stayed."""
        with self.connection.cursor() as cursor:
            cursor.execute(f'DROP TABLE IF EXISTS "{number}"')

    def is_in_transaction(self) -> bool:
        """Whether the connection is in a transaction at all."""
        return self.connection.connection is not None and self.connection.connection.in_transaction

    def abort_evidence(self, number: str, outcome: Outcome) -> str | None:
        """The clause that says what vouches that a transaction has left nothing; None: nothing."""
        if outcome is not Outcome.ABORTED:
            return None
        return "its transaction was rolled back, since the marker that was written in it is gone"


def _exists(raw: sqlite3.Connection, number: str) -> bool:
    found = raw.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [number])
    return found.fetchone() is not None


def _tries(raw: sqlite3.Connection, statement: str) -> bool:
    try:
        raw.execute(statement)
    except sqlite3.OperationalError:
        return False
    return True
