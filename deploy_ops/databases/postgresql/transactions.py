"""What became of a transaction of the migrating session: asked of the server, not concluded.

A transaction is known by its cluster and number, which are written down before its first statement.
`pg_xact_status` answers for it afterwards, from any session and after a crash, since it reads the
commit log. A crash before anything of a transaction reached the disk takes the number too: the
server then has not given it out yet, so it has committed nothing under it. A savepoint at the very
beginning tells whether the session is still in it: SQL or code of a migration can end the
transaction it was given, and a savepoint ends with its transaction.
"""

from typing import Any

import psycopg
from django.db import DataError

from deploy_ops.databases.migrating import Transactions
from deploy_ops.databases.values import Ended, Outcome
from deploy_ops.databases.postgresql import own_sessions

SAVEPOINT = "deploy_ops_begin"
# pg_current_xact_id gives the transaction its number: every step of a migration writes anyway.
CLUSTER = "SELECT system_identifier::text FROM pg_control_system()"
BEGIN = f"SELECT ({CLUSTER}) || '/' || pg_current_xact_id(); SAVEPOINT {SAVEPOINT}"
# As in pg_stat_xact_user_tables, without the sums over indexes that make that slow, and with the
# catalogs: they tell changes of the schema. The flush lets the session's counters start from zero
# in its next transaction.
ROWS = """
    SELECT ARRAY[oid::bigint, changes]
    FROM (SELECT oid, pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
            + pg_stat_get_xact_tuples_deleted(oid) AS changes
        FROM pg_class WHERE relkind IN ('r', 'm', 'p')) AS relation
    WHERE changes > 0
"""
LOOK = f"""
    SELECT pg_current_xact_id_if_assigned()::text, current_setting('track_counts')::bool,
        pg_stat_force_next_flush(), ARRAY({ROWS})
"""


class PostgresqlTransactions(Transactions):
    """The transactions of Django's connection."""

    _beside: own_sessions.Beside | None = None

    def begin(self) -> str:
        """Return the number of the transaction that has just been opened; call it first in it."""
        self._beside = own_sessions.beside(self.connection)
        with self.connection.cursor() as cursor:
            cursor.execute(BEGIN)
            return str(cursor.fetchone()[0])

    def before_commit(self, number: str) -> Ended:
        """Look at the transaction right before its COMMIT; the rows are those it changed."""
        return _look(self.connection.connection, number)

    def after_failure(self, number: str) -> Ended:
        """Look at the transaction after a failure, and undo what it did; rows still count."""
        raw: psycopg.Connection[tuple[object, ...]] = self.connection.connection
        if raw is None or raw.closed:
            return Ended(is_same=None, rows=None)
        if raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            return Ended(is_same=False, rows=None)
        try:
            raw.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            return _look(raw, number)
        except psycopg.errors.InvalidSavepointSpecification:
            return Ended(is_same=False, rows=None)
        except psycopg.Error:
            return Ended(is_same=None, rows=None)

    def had_company(self) -> bool:
        """Whether code of this process had other connections to the database since `begin`."""
        now = own_sessions.beside(self.connection)
        return bool(now.pids) or (self._beside is not None and now.opened > self._beside.opened)

    def outcome(self, number: str) -> Outcome:
        """Ask what became of a transaction; UNKNOWN where the server cannot tell any more."""
        cluster, _, xid = number.rpartition("/")
        with self.connection.cursor() as cursor:
            cursor.execute(CLUSTER)
            here = cursor.fetchone()[0]
            if cluster not in (here, ""):  # as journals of older versions have it
                return Outcome.UNKNOWN
            try:
                cursor.execute("SELECT pg_xact_status(%s::xid8)", [xid])
            except DataError as error:
                if not isinstance(error.__cause__, psycopg.errors.InvalidParameterValue):
                    raise
                return Outcome.LOST if cluster else Outcome.UNKNOWN  # it "is in the future"
            status = cursor.fetchone()[0]
        return Outcome(status) if status else Outcome.UNKNOWN

    def is_in_transaction(self) -> bool:
        """Whether the session is in a transaction at all, known without asking the server."""
        raw = self.connection.connection
        return raw is not None and raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def abort_evidence(self, number: str, outcome: Outcome) -> str | None:
        """The clause that says who vouches that a transaction has left nothing; None: nobody."""
        xid = number.rpartition("/")[2]
        if outcome is Outcome.ABORTED:
            return f"PostgreSQL says that its transaction {xid} was rolled back"
        if outcome is Outcome.LOST:
            return f"the server lost its transaction {xid} in a crash, before a commit of it"
        return None


def _look(raw: psycopg.Connection[tuple[object, ...]], number: str) -> Ended:
    row: Any = raw.execute(LOOK).fetchone()
    now, are_counted, _, changes = row
    if now != number.rpartition("/")[2]:
        return Ended(is_same=False, rows=None)
    return Ended(is_same=True, rows=dict(changes) if are_counted else None)
