"""The actions of `manage.py archive`: options in, exit code and JSON out, text on the way."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from deploy_ops.backup.archives import Base, require_archive
from deploy_ops.databases import database_for
from deploy_ops.databases.driver import require_psycopg
from deploy_ops.errors import ArchiveFailed, ConfigurationError
from deploy_ops.management.base import Json, OpsCommand

if TYPE_CHECKING:
    from deploy_ops.backup.archives.basebackup import BaseBackups

Options = Mapping[str, Any]
Outcome = tuple[int, Json]
HEADINGS = ("BASE BACKUP", "MOMENTS FROM", "SIZE", "BUILDS ON")


def base(command: OpsCommand, options: Options) -> Outcome:
    """take a base backup of the whole server, and verify it"""
    began, archive = time.monotonic(), _archive(options)
    from deploy_ops.backup.archives.take import take_base  # needs psycopg

    taken = take_base(
        archive,
        options["database"],
        incremental=options["incremental"],
        progress=command.progress,
    )
    seconds = round(time.monotonic() - began, 3)
    command.report(
        f"Base backup {taken.id} ({_megabytes(taken.size_bytes)}) is complete and verified. "
        f"Moments from {_spoken(taken.finished_at)} on can be restored, as far as the write-ahead "
        "log is archived."
    )
    return 0, {"status": "ok", "base": asdict(taken), "seconds": seconds}


def list_bases(command: OpsCommand, options: Options) -> Outcome:
    """list base backups, the log that is missing after each, and restore points"""
    archive = _archive(options)
    from deploy_ops.backup.methods import restore_point  # needs psycopg

    bases, points = archive.bases(), restore_point.points_of(options["database"])
    if not bases:
        command.tell(f"No base backups in {archive.base_dir}.")
    else:
        command.tell_table(HEADINGS, [_row(each) for each in bases])
    for each in bases:
        if lost := archive.missing(each):
            command.tell(
                f"After {each.id} the archive lacks {len(lost)} segments, {lost[0]} first: moments "
                "behind that one can be had from later base backups only."
            )
    for point in points:
        command.tell(f"Restore point {point.name}, {_spoken(point.at)}")
    return 0, {
        "status": "ok",
        "bases": [asdict(each) | {"missing": archive.missing(each)} for each in bases],
        "points": [{"name": p.name, "lsn": p.lsn, "at": p.at} for p in points],
    }


def check(command: OpsCommand, options: Options) -> Outcome:
    """prove that the log reaches the archive, and that nothing of it is missing since a base"""
    oldest, newest, seconds = _proven(_archive(options), options["database"])
    command.report(
        f"The write-ahead log reached the archive after {seconds} s. Any moment from "
        f"{_spoken(oldest)} to {_spoken(newest)} can be restored."
    )
    return 0, {"status": "ok", "oldest": oldest, "newest": newest, "seconds": seconds}


def _proven(archive: "BaseBackups", alias: str) -> tuple[datetime, datetime, float]:
    """The oldest and the newest moment that can be had, and how long the newest took to be there.

    Raises ArchiveFailed.
    """
    from deploy_ops.backup.archives import proof  # these need psycopg
    from deploy_ops.backup.methods import restore_point
    from deploy_ops.databases.postgresql.server import server_of

    began, name = time.monotonic(), f"deploy_ops/archive/{os.getpid()}"
    with server_of(alias).maintenance(application_name=name) as live:
        if reason := proof.lacking_rights(live, [proof.SWITCH]):
            raise ArchiveFailed(f"Whether the log is archived cannot be proven. {reason}")
        newest = proof.wait_until_archived(archive, live)
        seconds = round(time.monotonic() - began, 3)
        if reason := restore_point.no_base(archive, live, alias):
            raise ArchiveFailed(f"The write-ahead log is archived. {reason}")
        identifier = proof.identifier_of(live)
    own = [each for each in archive.bases() if each.system_identifier == identifier]
    oldest = next(each for each in own if not archive.missing(each))
    return oldest.finished_at, newest, seconds


def make_point(command: OpsCommand, options: Options) -> Outcome:
    """make a restore point, and wait until the log up to it is in the archive"""
    require_psycopg()
    from deploy_ops.backup.methods import restore_point

    began = time.monotonic()
    point = restore_point.make(options["database"], options["name"], command.progress)
    seconds = round(time.monotonic() - began, 3)
    command.report(f"Restore point {point.name} is made, and in the archive after {seconds} s.")
    facts = {"point": point.name, "lsn": point.lsn, "at": point.at, "seconds": seconds}
    return 0, {"status": "ok", **facts}


def prune(command: OpsCommand, options: Options) -> Outcome:
    """remove base backups beyond the newest ones, and the log that only they need"""
    archive = _archive(options)
    from deploy_ops.backup.archives.prune import find_superfluous, remove  # needs psycopg

    with archive.in_use(alone=True):
        found = find_superfluous(archive, options["keep"])
        if options["delete"]:
            remove(archive, found)
    word = "Removed" if options["delete"] else "Would remove, with --delete,"
    for each in found.bases:
        command.report(f"{word} base backup {each.id}.")
    command.report(
        f"{word} {len(found.segments)} segments of the log; {len(found.kept)} base backups are "
        f"kept. That is {_megabytes(found.size_bytes)}."
    )
    return 0, {
        "status": "ok",
        "deleted": options["delete"],
        "bases": [each.id for each in found.bases],
        "segments": [path.name for path in found.segments],
        "kept": [each.id for each in found.kept],
    }


def receive_log(command: OpsCommand, options: Options) -> Outcome:
    """receive the log until stopped, as a service (pg_receivewal)"""
    archive = _archive(options)
    from deploy_ops.backup.archives.receive import receive  # needs psycopg

    with suppress(KeyboardInterrupt):  # how it is meant to end
        receive(archive, options["database"], command.progress)
    return 0, {"status": "ok"}


ACTIONS: Mapping[str, Callable[[OpsCommand, Options], Outcome]] = {
    "base": base,
    "list": list_bases,
    "check": check,
    "point": make_point,
    "prune": prune,
    "receive": receive_log,
}


def _archive(options: Options) -> "BaseBackups":
    if database_for(options["database"]).vendor != "postgresql":
        raise ConfigurationError(
            f"Database '{options['database']}' is no PostgreSQL database, and has no write-ahead "
            "log that can be archived. Nothing was changed."
        )
    archive = require_archive()
    from deploy_ops.backup.archives.basebackup import BaseBackups  # needs psycopg

    assert isinstance(archive, BaseBackups)
    return archive


def _row(each: Base) -> tuple[str, ...]:
    size = _megabytes(each.size_bytes)
    return each.id, _spoken(each.finished_at), size, each.parent or "-"


def _spoken(at: datetime) -> str:
    return timezone.localtime(at).isoformat(sep=" ", timespec="seconds")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
