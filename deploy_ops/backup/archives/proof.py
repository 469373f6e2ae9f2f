"""Proof that what the server writes reaches its archive: a segment ended, and seen there."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from deploy_ops.backup.archives.base import Archive, Base
from deploy_ops.databases.postgresql.segments import Segment
from deploy_ops.databases.postgresql.server import (
    Connection,
    quoted_role,
    scalar,
    system_identifier,
)
from deploy_ops.errors import ArchiveFailed

SWITCH = "pg_catalog.pg_switch_wal()"
PATIENCE_SECONDS = 60
PREVIOUS_SECONDS = 5  # for the segment before the present one, which ended some time ago
PAUSE_SECONDS = 0.02
# The segment that holds the last byte before a position.
SEGMENT = "SELECT pg_walfile_name(%s::pg_lsn - 1)"
PREVIOUS = """
    SELECT pg_walfile_name(pg_current_wal_insert_lsn() - setting::bigint) FROM pg_settings
    WHERE name = 'wal_segment_size' AND pg_current_wal_insert_lsn() - '0/0' > 2 * setting::bigint
"""
FAILURES = """
    SELECT last_failed_wal FROM pg_stat_archiver
    WHERE last_failed_time > coalesce(last_archived_time, '-infinity')
"""

identifier_of = system_identifier


def wait_until_archived(archive: Archive, connection: Connection) -> datetime:
    """End the present segment and wait for it; return the newest moment that can now be had.

    Raises ArchiveFailed if it does not come within a minute.
    """
    # Recovery to a time ends at the first transaction behind it: so there is one, however quiet
    # the server is.
    connection.execute("SELECT pg_current_xact_id()")
    now: datetime = scalar(connection, "SELECT clock_timestamp()")
    connection.execute("SELECT pg_current_xact_id()")
    segment = scalar(connection, SEGMENT, [scalar(connection, "SELECT pg_switch_wal()::text")])
    if not _comes(archive, segment, PATIENCE_SECONDS):
        raise ArchiveFailed(
            f"{segment} was ended {PATIENCE_SECONDS} s ago and is not in the archive. "
            f"{_advice(connection)} Nothing was changed."
        )
    return now.astimezone(UTC)


def may_end_segments(connection: Connection) -> bool:
    """Whether this server and role can do that."""
    is_standby = scalar(connection, "SELECT pg_is_in_recovery()")
    return not is_standby and lacking_rights(connection, [SWITCH]) is None


def lacking_rights(connection: Connection, functions: Sequence[str]) -> str | None:
    """Say which functions the role may not execute, and who may let it; None if it may."""
    query = "SELECT has_function_privilege(%s, 'EXECUTE')"
    lacking = [name for name in functions if not scalar(connection, query, [name])]
    if not lacking:
        return None
    return (
        f"This role may not execute {' and '.join(lacking)} in database "
        f"{connection.info.dbname}. As a superuser, there and in no other database: GRANT EXECUTE "
        f"ON FUNCTION {', '.join(lacking)} TO {quoted_role(connection)};"
    )


def wait_for_log(archive: Archive, base: Base, connection: Connection) -> None:
    """Wait for what a base backup needs of the log to the moment of its end; raises ArchiveFailed.

    The server has ended the segment itself.
    """
    last = Segment((base.end_lsn - 1) // base.segment_bytes, base.timeline)
    name = last.name(base.segment_bytes)
    lost = [] if _comes(archive, name, PATIENCE_SECONDS) else [name]
    if lost := lost or list(archive.missing(base)):
        raise ArchiveFailed(
            f"{lost[0]}, which the base backup needs, is not in the archive, so nothing could be "
            f"restored from it, and it was removed. {_advice(connection)}"
        )


def why_not_archived(archive: Archive, connection: Connection) -> str | None:
    """Say why what ended before has not reached the archive, None if it has; changes nothing."""
    previous = scalar(connection, PREVIOUS)
    if previous is None or any(_comes(archive, name, 0) for name in _on_timelines(previous)):
        return None
    if _comes(archive, previous, PREVIOUS_SECONDS):
        return None
    return f"{previous} has ended and is not in the archive. {_advice(connection)}"


def _on_timelines(segment: str) -> list[str]:
    """Its names on this timeline and those before: a promoted standby goes on under a new one."""
    return [f"{timeline:08X}{segment[8:]}" for timeline in range(int(segment[:8], 16), 0, -1)]


def _comes(archive: Archive, segment: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not archive.has(segment):
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_SECONDS)
    return True


def _advice(connection: Connection) -> str:
    if failed := scalar(connection, FAILURES):
        return f"The server's archive_command fails at {failed}: its log says why."
    return "See whether pg_receivewal runs, or what archive_command does."
