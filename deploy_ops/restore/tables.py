"""Single tables: their rows from a restored database beside take the place of the live ones."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from deploy_ops.advice import manage
from deploy_ops.audit import Kind
from deploy_ops.backup.entry import Backup
from deploy_ops.databases.rows import Replacement, TableDifference
from deploy_ops.errors import DatabaseLost, DatabaseUnavailable, RestoreFailed
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent
from deploy_ops.redact import error_text
from deploy_ops.restore.interrupted import REPLACING, RestoreMarker
from deploy_ops.restore.job import RestoreJob
from deploy_ops.restore.beside import restored_to_look_at
from deploy_ops.trail import noted


@dataclass(frozen=True, slots=True)
class RestoredTables:
    """What was done to each table, and the kept table with the rows that went."""

    database: str
    tables: Sequence[TableDifference]
    kept: Mapping[str, str]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class PreparedTables:
    """Tables side by side with what the backup has for them; `kept` names a new table for each."""

    job: RestoreJob
    marker: RestoreMarker
    replacement: Replacement
    kept: Mapping[str, str]

    @property
    def differences(self) -> Sequence[TableDifference]:
        """What is taken out of each table, changed in it and put back into it."""
        return self.replacement.differences

    @property
    def is_needed(self) -> bool:
        """Whether any table has other rows than the backup."""
        return not all(each.is_none for each in self.differences)

    def replace(self, *, is_agreed: bool) -> RestoredTables:
        """Put the rows back, in one transaction; what it takes out is kept.

        Stops where the rows that go are not those of `differences` any more, unless whatever goes
        `is_agreed`. Raises RestoreFailed with nothing changed, DatabaseLost if that is not known.
        """
        with noted(Kind.RESTORE, **self.job.names, tables=[*self.kept], kept=[*self.kept.values()]):
            self.job.lock.check()
            self.marker.write(REPLACING)
            self.job.progress.say("Putting the rows back; those that write to the tables wait")
            try:
                self.replacement.replace(self.kept, is_agreed=is_agreed)
            # pylint: disable-next=broad-exception-caught  # whatever it is, the rows may be back
            except BaseException as error:
                if not self._is_committed(error):
                    raise self._as_failed(error) from error
        return RestoredTables(
            self.job.names["database"], self.differences, self.kept, self.replacement.notes
        )

    def _is_committed(self, error: BaseException) -> bool:
        """Ask, since an error can come up after the COMMIT."""
        try:
            return self.job.database.has_kept(self.marker.restoring.previous)
        except DatabaseUnavailable as second:
            raise DatabaseLost(
                "The server went away while rows were put back, so whether that was committed is "
                "not known. It is all of it, or nothing. Once the server answers, this tells:\n"
                + manage("restore", alias=self.job.alias)
            ) from (error if isinstance(error, Exception) else second)

    def _as_failed(self, error: BaseException) -> BaseException:
        if isinstance(error, DatabaseUnavailable):  # and it answers again
            return RestoreFailed(f"{error_text(error)}\nNothing was changed. Restore again.")
        return error


@contextmanager
def prepare_tables(  # pylint: disable=too-many-arguments  # each a different caller's need
    backup: Backup,
    tables: Sequence[str],
    *,
    alias: str,
    lock: DeployLock,
    jobs: int = 2,
    progress: Progress = Silent(),
) -> Iterator[PreparedTables]:
    """Restore a backup beside, and yield the tables with what putting their rows back would do.

    What is beside is dropped at the end. Raises UsageError for tables that are not there,
    RestoreRefused, RestoreFailed, BackupCorrupt, BackupUntrusted.
    """
    job = RestoreJob(backup, alias, lock, jobs, progress)
    found = job.database.find_tables(tables, backup.manifest.counts)
    # pylint: disable-next=contextmanager-generator-missing-cleanup  # `with` runs all of it
    with restored_to_look_at(job, found[0]) as marker:
        names = marker.restoring
        kept = {table: job.database.kept_name(table, names.stamp) for table in found}
        with job.database.replacing(names.beside, found) as replacement:
            yield PreparedTables(job, marker, replacement, kept)
