"""Preparing a restore: verify, look ahead, restore into a new database beside, compare."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_ops.audit import Kind
from deploy_ops.backup.opening import opened
from deploy_ops.backup.entry import Backup
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent
from deploy_ops.restore.beside import discard, free_stamp
from deploy_ops.restore.compare import (
    UNTOUCHED,
    compared_loss,
    require_same_rows,
    view_differences,
)
from deploy_ops.restore.interrupted import RestoreMarker, Restoring, begin_marker
from deploy_ops.restore.job import RestoreJob
from deploy_ops.restore.media import check_media, copy_beside, media_paths
from deploy_ops.restore.swap import COUNTED, PreparedRestore, ended
from deploy_ops.restore.values import Restored, Since
from deploy_ops.trail import noted


@contextmanager
def prepare_restore(  # pylint: disable=too-many-arguments  # each a different caller's need
    backup: Backup,
    *,
    alias: str,
    lock: DeployLock,
    jobs: int = 2,
    progress: Progress = Silent(),
) -> Iterator[PreparedRestore]:
    """Restore a backup beside the live database, and yield what a swap would make live.

    The caller looks at its `loss` and `view_differences` and swaps, or not: what was not swapped
    when the block ends is discarded. The live database is as it was until the swap.

    Raises RestoreRefused, BackupCorrupt, BackupUntrusted, RestoreFailed.
    """
    job = RestoreJob(backup, alias, lock, jobs, progress)
    job.verify()
    job.refuse([*job.method.check_restore(job.manifest), *check_media(job.manifest)])
    # pylint: disable-next=contextmanager-generator-missing-cleanup  # `with` runs all of it
    with opened(backup) as plain:
        marker = begin_marker(_names(job))
        try:
            prepared = _restored_beside(job, plain, marker)
        except BaseException:
            discard(job, marker)
            raise
        with ended(prepared):
            yield prepared


def _names(job: RestoreJob) -> Restoring:
    stamp = free_stamp(job.database)
    return Restoring(
        job.database.key(),
        job.backup.id,
        job.database.name_beside(f"restoring_{stamp}"),
        job.database.name_beside(f"before_restore_{stamp}"),
        media_paths(stamp) if job.manifest.media else None,
    )


def _restored_beside(job: RestoreJob, plain: Path, marker: RestoreMarker) -> PreparedRestore:
    names = marker.restoring
    job.restore_beside(plain, names.beside)
    if names.media:
        copy_beside(plain / "media", names.media, job.progress)
    differences = view_differences(job, names.beside)
    # Before the counting, so that nothing falls between.
    counted = Since(job.database.write_position(), COUNTED)
    loss = compared_loss(job, names)
    return PreparedRestore(job, marker, differences, counted, loss)


def restore_into(  # pylint: disable=too-many-arguments  # each a different caller's need
    backup: Backup,
    name: str,
    *,
    alias: str,
    lock: DeployLock,
    jobs: int = 2,
    progress: Progress = Silent(),
) -> Restored:
    """Restore a backup into the new database `name`, compare it, and swap nothing.

    Raises RestoreRefused, BackupCorrupt, BackupUntrusted, RestoreFailed.
    """
    job = RestoreJob(backup, alias, lock, jobs, progress)
    job.verify()
    job.refuse(job.method.check_restore(job.manifest, into=name))
    with noted(Kind.RESTORE, backup=backup.id, into=name):
        with opened(backup) as plain:
            job.restore_beside(plain, name)
        require_same_rows(job, name, UNTOUCHED)
        return Restored(name, None, view_differences=view_differences(job, name))
