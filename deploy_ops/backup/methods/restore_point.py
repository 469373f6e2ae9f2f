"""A named point in the write-ahead log: a safety point that costs the same at any size.

It is worth something only if the log reaches the archive, so `make` proves that it did. The way
back is restore/point_in_time.py.
"""

import os
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from deploy_ops.advice import manage
from deploy_ops.backup.archives import Archive, Base, configured_archive, proof
from deploy_ops.backup.methods.base import Abilities, Cost, Scope
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql.server import Connection, scalar, server_of
from deploy_ops.errors import ArchiveFailed, ConfigurationError, DatabaseUnavailable, UsageError
from deploy_ops.files import add_line, read_lines
from deploy_ops.places import state_directory
from deploy_ops.progress import Progress, Silent
from deploy_ops.redact import error_text
from deploy_ops.times import moment

ABILITIES = Abilities(
    Scope.CLUSTER,
    Cost.FLAT,
    is_backup=False,
    supports_beside=True,  # out of a scratch instance
    supports_point_in_time=True,
)
FILE = "restore_points.jsonl"
BEFORE_RUN = "before_run_"
OLDEST_BASE = timedelta(days=8)  # a week's, and a day in which the next one may be late
NAME = re.compile(r"[A-Za-z0-9_.:+-]{1,63}")  # PostgreSQL takes 63 bytes
FUNCTIONS = ("pg_catalog.pg_create_restore_point(text)", proof.SWITCH)


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A point that can be restored: `write_position` is the one before it, for `writes_since`."""

    name: str
    lsn: str
    at: datetime
    write_position: Json


def name_before(run: str) -> str:
    """Name the point before the first step of a run."""
    return f"{BEFORE_RUN}{run}"


def run_of(name: str) -> str | None:
    """The run that the point of this name was made for; None if it was made for another reason."""
    return name.removeprefix(BEFORE_RUN) if name.startswith(BEFORE_RUN) else None


def why_not(alias: str) -> str | None:
    """Say in a sentence why no restore point can be made now, None if one can; changes nothing."""
    database = database_for(alias)
    if database.vendor != "postgresql":
        return "SQLite has no write-ahead log that can be archived."
    try:
        archive = configured_archive()
        if archive is None:
            return "DEPLOY_OPS_ARCHIVE is not set."
        archive.check()
        with _looking(alias) as connection:
            return _why_not_here(archive, connection, alias)
    except (ConfigurationError, DatabaseUnavailable) as error:
        return error.fact
    except psycopg.Error as error:
        return f"The server cannot be asked: {error_text(error)}"


def make(alias: str, name: str, progress: Progress = Silent()) -> RestorePoint:
    """Make a restore point, and wait until the log up to it is in the archive.

    Raises ArchiveFailed where it does not get there: then the point is worth nothing.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:99]!r} is no name for a restore point: letters, digits and _ . : + - , 63 at "
            "most. Nothing was changed."
        )
    archive = configured_archive()
    if (reason := why_not(alias)) or archive is None:
        raise ArchiveFailed(f"No restore point can be made. {reason} Nothing was changed.")
    progress.say("Making a restore point, and waiting for the archive")
    position = database_for(alias).write_position()
    with _looking(alias) as connection:
        lsn = scalar(connection, "SELECT pg_create_restore_point(%s)::text", [name])
        at = scalar(connection, "SELECT clock_timestamp()").astimezone(UTC)
        proof.wait_until_archived(archive, connection)
    point = RestorePoint(name, lsn, at, position)
    _note(alias, point)
    return point


def points_of(alias: str) -> list[RestorePoint]:
    """Restore points of the database of an alias, oldest first."""
    key = database_for(alias).key()
    try:
        entries = read_lines(conf.state_dir / FILE).entries
    except FileNotFoundError:
        return []
    found = (_read(entry) for entry in entries if entry.get("key") == key)
    return [point for point in found if point is not None]


def _read(entry: Json) -> RestorePoint | None:
    at, name, lsn = moment(entry.get("at")), entry.get("name"), entry.get("lsn")
    position = entry.get("write_position")
    if at is None or not isinstance(name, str) or not isinstance(lsn, str):
        return None
    return RestorePoint(name, lsn, at, position if isinstance(position, dict) else {})


def _note(alias: str, point: RestorePoint) -> None:
    """Keep it outside the database, which a restore rewinds."""
    entry = {"key": database_for(alias).key(), **asdict(point), "at": point.at.isoformat()}
    path: Path = state_directory() / FILE
    try:
        add_line(path, entry)
    except OSError as error:
        raise ArchiveFailed(
            f"The restore point {point.name} is made, and cannot be noted in {path}: "
            f"{error.strerror}. Nothing else was changed. Once the file can be written, run the "
            "command again."
        ) from error


def _looking(alias: str) -> Connection:
    """In the maintenance database: rights that a role has in its own one are dumped with it, and
    no restore by that role could give them again."""
    return server_of(alias).maintenance(application_name=f"deploy_ops/point/{os.getpid()}")


def _why_not_here(archive: Archive, connection: Connection, alias: str) -> str | None:
    if scalar(connection, "SELECT pg_is_in_recovery()"):
        return "The server is a standby, which makes no restore points."
    if scalar(connection, "SELECT current_setting('wal_level')") == "minimal":
        return "wal_level is minimal, so that the log is not enough for a restore."
    if reason := proof.lacking_rights(connection, FUNCTIONS):
        return reason
    return no_base(archive, connection, alias) or proof.why_not_archived(archive, connection)


def no_base(archive: Archive, connection: Connection, alias: str) -> str | None:
    """Say why no base backup is fit to restore what is written now, None if one is."""
    take_one = f"Take one:\n{manage('archive', 'base', alias=alias)}"
    if (base := _newest_base(archive, connection)) is None:
        return f"The archive has no base backup of this server. {take_one}"
    age = scalar(connection, "SELECT clock_timestamp()") - base.finished_at
    if age > OLDEST_BASE:
        return f"The newest base backup is {age.days} days old. {take_one}"
    if lost := archive.missing(base):
        return (
            f"The archive lacks {len(lost)} segments of the log since the newest base backup, "
            f"{lost[0]} first. {take_one}"
        )
    return None


def _newest_base(archive: Archive, connection: Connection) -> Base | None:
    """The newest base backup of the server that a connection leads to."""
    identifier = proof.identifier_of(connection)
    own = [base for base in archive.bases() if base.system_identifier == identifier]
    return own[-1] if own else None
