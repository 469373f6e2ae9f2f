"""A restore without a second database: the contents are replaced, in one transaction.

The way back is a backup that is taken first, not the previous database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_ops.advice import manage
from deploy_ops.audit import Kind
from deploy_ops.backup.opening import opened
from deploy_ops.backup.create import take_backup
from deploy_ops.backup.entry import Backup
from deploy_ops.backup.methods import Unchanged
from deploy_ops.errors import RestoreFailed
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent
from deploy_ops.restore.compare import (
    loss_of,
    require_same_rows,
    rows_lost,
    values_lost,
    view_differences,
)
from deploy_ops.restore.job import RestoreJob
from deploy_ops.restore.since import AGAIN, require_nobody_wrote
from deploy_ops.restore.swap import COUNTED
from deploy_ops.restore.values import Loss, Restored, Since
from deploy_ops.trail import noted


@dataclass(frozen=True, slots=True)
class PreparedReplacement:
    """A backup that can replace the contents of the live database.

    `loss` is what that takes out of it; `counted` is the moment before that was counted.
    """

    job: RestoreJob
    plain: Path
    counted: Since
    loss: Loss

    def replace_contents(self, *, unless_written_since: Since | None) -> Restored:
        """Take a backup of the live database, then replace what is in it.

        Nothing is replaced if others wrote since; None agrees to whatever is lost. Raises
        RestoreFailed, BackupFailed.
        """
        with noted(Kind.RESTORE, **self.job.names):
            return self._replace_contents(unless_written_since)

    def _replace_contents(self, unless_written_since: Since | None) -> Restored:
        job, since = self.job, unless_written_since
        label = f"before restoring {job.backup.id} in place"
        safety = take_backup(
            job.alias, lock=job.lock, label=label, jobs=job.jobs, progress=job.progress
        )
        state = f"The live database was not changed; backup {safety.id} of it was made and stays."
        if since is None:  # what is written from here on would be in no backup
            since = Since(safety.manifest.write_position, f"backup {safety.id} began")
        require_nobody_wrote(job.database, since, state)
        if unless_written_since is not None and self._loss_in_the_end(safety) is not None:
            raise RestoreFailed(f"Rows were added or removed after {since.moment}. {state} {AGAIN}")
        job.lock.check()
        job.method.restore_in_place(
            self.plain / "database",
            job.manifest,
            unless_changed=Unchanged(safety.manifest.counts, since.write_position),
            progress=job.progress,
        )
        return self._compared(safety)

    def _compared(self, safety: Backup) -> Restored:
        name = self.job.database.identify().name
        require_same_rows(
            self.job,
            name,
            f"It is live. What was there before is backup {safety.id}:\n"
            + manage("restore", safety.id, "--in-place", alias=self.job.alias),
        )
        return Restored(
            name,
            None,
            safety_backup=safety.id,
            view_differences=view_differences(self.job, name),
            loss=self._loss_in_the_end(safety),
        )

    def _loss_in_the_end(self, safety: Backup) -> Loss | None:
        """What the safety backup holds, since nobody wrote after it; None: as counted before."""
        rows = rows_lost(self.job.contents, safety.manifest.counts)
        if rows == self.loss.rows:
            return None
        sequences = values_lost(self.job.contents, safety.manifest.sequences)
        return replace(self.loss, rows=rows, sequences=sequences)


@contextmanager
def prepare_in_place(  # pylint: disable=too-many-arguments  # each a different caller's need
    backup: Backup,
    *,
    alias: str,
    lock: DeployLock,
    jobs: int = 2,
    progress: Progress = Silent(),
) -> Iterator[PreparedReplacement]:
    """Verify and look ahead, and yield what replaces the contents of the live database.

    Raises RestoreRefused, BackupCorrupt, BackupUntrusted.
    """
    job = RestoreJob(backup, alias, lock, jobs, progress)
    job.verify()
    job.refuse(job.method.check_in_place(job.manifest))
    with opened(backup) as plain:
        # First, so that nothing falls between.
        counted = Since(job.database.write_position(), COUNTED)
        counts, sequences = job.database.count_rows(job.database.identify().name)
        loss = loss_of(
            job.database, job.contents, counts, sequences, "a backup that is taken first"
        )
        yield PreparedReplacement(job, plain, counted, loss)
