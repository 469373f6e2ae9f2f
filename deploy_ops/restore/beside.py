"""A backup restored into a database beside, to be looked at and dropped again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from deploy_ops.advice import manage
from deploy_ops.backup.opening import opened
from deploy_ops.databases import Database
from deploy_ops.errors import DatabaseLost
from deploy_ops.restore import media
from deploy_ops.restore.compare import UNTOUCHED, require_same_rows
from deploy_ops.restore.interrupted import RestoreMarker, Restoring, begin_marker
from deploy_ops.restore.job import RestoreJob


@contextmanager
def restored_to_look_at(job: RestoreJob, table: str | None = None) -> Iterator[RestoreMarker]:
    """Restore a backup of this database beside it, compare it, and drop it when the block ends.

    `table` is the first one whose rows are replaced meanwhile: its kept table is what a killed
    restore is asked by. Raises RestoreRefused, BackupCorrupt, BackupUntrusted, RestoreFailed.
    """
    job.verify()
    names = _names(job, table)
    job.refuse([*_of_another(job), *job.method.check_restore(job.manifest, into=names.beside)])
    marker = begin_marker(names)
    try:
        with opened(job.backup) as plain:
            job.restore_beside(plain, names.beside)
        require_same_rows(job, names.beside, UNTOUCHED)
        yield marker
    except DatabaseLost:  # the next command looks at what came of it
        raise
    except BaseException:
        discard(job, marker)
        raise
    discard(job, marker)


def discard(job: RestoreJob, marker: RestoreMarker) -> None:
    """Remove what was restored beside, and then what it would be recognised by."""
    job.database.drop(marker.restoring.beside)
    if marker.restoring.media:
        media.discard(marker.restoring.media)
    marker.remove()


def free_stamp(database: Database) -> str:
    """A time that no name beside the live database has yet: two restores in one second."""
    taken = " ".join(database.databases_beside())
    while (stamp := f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}") in taken:
        time.sleep(0.1)
    return stamp


def _names(job: RestoreJob, table: str | None) -> Restoring:
    database, kept = job.database, ""
    stamp = free_stamp(database)
    # A kept table of the same second would be taken for that of this restore.
    while table is not None and database.has_kept(kept := database.kept_name(table, stamp)):
        time.sleep(0.1)
        stamp = free_stamp(database)
    beside = database.name_beside(f"restoring_{stamp}")
    return Restoring(database.key(), job.backup.id, beside, kept, None)


def _of_another(job: RestoreJob) -> Iterator[str]:
    if job.backup.source != job.database.key():
        yield (
            f"The backup is of {job.manifest.database.place}, not of this database. To look at it, "
            "restore it into a new one:\n"
            + manage("restore", job.backup.id, "--into", "NAME", alias=job.alias)
        )
