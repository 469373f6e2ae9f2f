"""One database as it was at a moment, out of the archive of its whole server.

A scratch instance recovers the server's files up to the moment, and a normal backup is made of the
one database in it. That is restored as any other, so that the other databases of the server, and
what the live one has now, stay (docs/decisions/0042).
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.utils import timezone

from deploy_ops.advice import manage
from deploy_ops.backup import take_backup
from deploy_ops.backup.archives import Archive, Base, proof, require_archive
from deploy_ops.backup.create import Source
from deploy_ops.backup.entry import Backup
from deploy_ops.backup.methods import restore_point
from deploy_ops.backup.methods.pg_dump import PgDump
from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql.scratch import Target, scratch_instance
from deploy_ops.databases.postgresql.server import (
    Connection,
    scalar,
    server_of,
    system_identifier,
)
from deploy_ops.errors import ArchiveFailed, RestoreFailed, RestoreRefused
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent

UNCHANGED = "Nothing was changed."


@dataclass(frozen=True, slots=True)
class Moment:
    """What is wanted: right before `at`, or the restore point `point`, made then.

    `write_position` is the one before the point, {} where it is not known; `run` the run before
    which that was.
    """

    at: datetime
    point: str | None = None
    write_position: Json | None = None
    run: str | None = None

    @property
    def target(self) -> Target:
        """As a recovery has it."""
        return Target(name=self.point) if self.point else Target(at=self.at)

    @property
    def title(self) -> str:
        """As people read it."""
        at = self.at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")
        return f"restore point {self.point}" if self.point else f"right before {at}"


def moment_of_point(alias: str, name: str) -> Moment:
    """The moment of a restore point that was made here; raises RestoreRefused."""
    points = restore_point.points_of(alias)
    for point in reversed(points):
        if point.name == name:
            return Moment(point.at, name, point.write_position, restore_point.run_of(name))
    newest = ", ".join(point.name for point in points[:-6:-1])
    known = f"The newest ones: {newest}." if newest else "There are none."
    raise RestoreRefused(
        f"There is no restore point {name!r} of this database. {known} {UNCHANGED}"
    )


def backup_of(
    moment: Moment, *, alias: str, lock: DeployLock, progress: Progress = Silent(), jobs: int = 2
) -> Backup:
    """Make a verified backup of the database as it was at a moment; the live one is not changed.

    Raises RestoreRefused where the moment cannot be had, RestoreFailed where the recovery does not
    get there, BackupFailed, ConfigurationError.
    """
    archive = require_archive()
    base = _base_for(moment, archive, alias)
    scratch = archive.scratch_directory()
    _check_free_space(scratch, base)
    progress.say(f"Recovering a scratch instance to {moment.title}, from base backup {base.id}")
    with (
        archive.in_use(),
        _told_of_gaps(base, archive),
        scratch_instance(
            scratch,
            lambda data: archive.fetch(base, data, progress),
            major=base.major,
            target=moment.target,
            restore_command=archive.restore_command(),
        ) as over,
    ):
        method = PgDump(alias, over(server_of(alias)))
        source = Source(method, moment.at, moment.write_position or {})
        label = f"as of {moment.title}"
        return take_backup(
            alias,
            lock=lock,
            progress=progress,
            jobs=jobs,
            source=source,
            label=label,
            run=moment.run,
        )


def _base_for(moment: Moment, archive: Archive, alias: str) -> Base:
    """The newest base before a moment that can be had; raises RestoreRefused."""
    name = f"deploy_ops/moment/{os.getpid()}"
    with server_of(alias).maintenance(application_name=name) as live:
        identifier = system_identifier(live)
        now: datetime = scalar(live, "SELECT clock_timestamp()")
        if moment.at > now:
            raise RestoreRefused(
                f"{_spoken(moment.at)} is in the future: the server's clock says {_spoken(now)}. "
                + UNCHANGED
            )
        bases = [each for each in archive.bases() if each.system_identifier == identifier]
        if not bases:
            raise RestoreRefused(
                f"The archive has no base backup of this server, so no moment can be had. "
                f"{UNCHANGED}"
            )
        before = [each for each in bases if each.finished_at <= moment.at]
        if not before:
            raise RestoreRefused(
                f"{_spoken(moment.at)} is before the oldest base backup. The oldest moment "
                f"that can be had is {_spoken(bases[0].finished_at)}. {UNCHANGED}"
            )
        if moment.point is None:
            _require_archived(moment.at, archive, live, alias)
    return before[-1]


def _require_archived(at: datetime, archive: Archive, live: Connection, alias: str) -> None:
    """Raise RestoreRefused for a moment whose log cannot be in the archive."""
    newest = archive.newest_write()
    if proof.may_end_segments(live):
        with suppress(ArchiveFailed):  # then what came before is there all the same
            newest = proof.wait_until_archived(archive, live)
    if newest is None or at > newest:
        until = f"ends at {_spoken(newest)}" if newest else "is empty"
        raise RestoreRefused(
            f"{_spoken(at)} is not in the archive, whose log {until}. {UNCHANGED} See what keeps "
            f"it from going on:\n{manage('archive', 'check', alias=alias)}"
        )


@contextmanager
def _told_of_gaps(base: Base, archive: Archive) -> Iterator[None]:
    """Add to the error which segments are not there, if that is why."""
    try:
        yield
    except RestoreFailed as error:
        if not (lost := archive.missing(base)):
            raise
        raise RestoreFailed(
            f"The archive lacks {len(lost)} segments of the log after base backup {base.id}, "
            f"{lost[0]} first, and no moment behind it can be had.\n{error}"
        ) from error


def _check_free_space(scratch: Path, base: Base) -> None:
    free = shutil.disk_usage(scratch.parent).free
    if free < base.size_bytes:
        raise RestoreRefused(
            f"{scratch.parent} has {free / 1e6:.1f} MB free, and a scratch instance needs "
            f"{base.size_bytes / 1e6:.1f} MB. {UNCHANGED}"
        )


def _spoken(at: datetime) -> str:
    return timezone.localtime(at).isoformat(sep=" ", timespec="seconds")
