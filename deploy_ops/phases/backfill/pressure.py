"""What makes a backfill wait: replication, WAL archive, autovacuum and long transactions.

What a role may not see (pg_read_all_stats) is taken as absent. pg_locks shows everybody's locks, so
an autovacuum is seen by its lock: a session without a user that has the lock of VACUUM.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.conf import conf
from deploy_ops.databases import database_for

LOOK = """
    SELECT
        (SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8
            FROM pg_stat_replication),
        (SELECT CASE WHEN current_setting('archive_mode') <> 'off'
                THEN coalesce(last_archived_wal, last_failed_wal) END FROM pg_stat_archiver),
        pg_walfile_name(pg_current_wal_lsn()),
        pg_size_bytes(current_setting('wal_segment_size')),
        (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND backend_type = 'client backend'
                AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL))
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a backfill waits (None: never because of that), and how long for somebody's locks."""

    rows_per_second: float | None
    replication_lag_seconds: float | None
    archive_queue_files: float | None
    transaction_seconds: float | None
    autovacuum: float | None
    patience_seconds: float | None

    @classmethod
    def of_settings(cls) -> "Limits":
        """As DEPLOY_OPS_BACKFILL_LIMITS has them."""
        return cls(**conf.backfill_limits)


@dataclass(frozen=True, slots=True)
class Pressure:
    """What was seen at one moment."""

    replication_lag_seconds: float
    archive_queue_files: int
    is_vacuumed: bool
    transaction_seconds: float

    def reasons(self, limits: Limits) -> Iterator[str]:
        """Why to wait, in words."""
        if _exceeds(self.replication_lag_seconds, limits.replication_lag_seconds):
            yield f"a replica is {self.replication_lag_seconds:.0f} s behind"
        if _exceeds(self.archive_queue_files, limits.archive_queue_files):
            yield f"{self.archive_queue_files} WAL files wait to be archived"
        if limits.autovacuum and self.is_vacuumed:
            yield "autovacuum works on the table"
        if _exceeds(self.transaction_seconds, limits.transaction_seconds):
            yield f"a transaction is open for {self.transaction_seconds:.0f} s"


def look(connection: BaseDatabaseWrapper, table: str) -> Pressure:
    """Ask the server."""
    with connection.cursor() as cursor:
        cursor.execute(LOOK)
        lag, archived, current, segment_bytes, age = cursor.fetchone()
    is_vacuumed = database_for(connection.alias).is_behind_autovacuum([table])
    return Pressure(lag, archive_queue(archived, current, segment_bytes), is_vacuumed, age)


def archive_queue(archived: str | None, current: str, segment_bytes: int) -> int:
    """How many full WAL files lie between the one archived last and the one that is written."""
    if archived is None or "." in archived[:24]:  # a .history file tells no position
        return 0
    return max(0, _number(current, segment_bytes) - _number(archived, segment_bytes) - 1)


def _number(file: str, segment_bytes: int) -> int:
    """Names of WAL files are timeline, upper and lower half of the position, in hexadecimal."""
    return int(file[8:16], 16) * (0x1_0000_0000 // segment_bytes) + int(file[16:24], 16)


def _exceeds(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit
