"""The swap of a prepared restore: behind the closed door it is asked who wrote; then the names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from deploy_ops.advice import manage
from deploy_ops.audit import Kind
from deploy_ops.databases.base import Answer, Json, Writes
from deploy_ops.errors import DatabaseUnavailable, RestoreUnfinished, SwapUnfinished
from deploy_ops.redact import error_text
from deploy_ops.restore import media
from deploy_ops.restore.beside import discard
from deploy_ops.restore.compare import rows_lost, values_lost
from deploy_ops.restore.hold import Reason, clients_held
from deploy_ops.restore.interrupted import SWAPPING, RestoreMarker
from deploy_ops.restore.job import Job, RestoreJob
from deploy_ops.restore.since import require_nobody_wrote
from deploy_ops.restore.values import Loss, Restored, Since
from deploy_ops.trail import noted

COUNTED = "the loss was counted"
NOT_SWAPPED = "The live database was not swapped, and is open again."


@dataclass(slots=True)
class PreparedRestore:
    """A database beside that can be swapped in: a restored and compared backup, or a clone.

    `loss` is what the swap takes out of the live database, None where nobody counts it; `counted`
    is the moment before that was counted. `view_differences` tells which materialized views came
    out other than at the backup.
    """

    job: Job
    marker: RestoreMarker
    view_differences: tuple[str, ...]
    counted: Since
    loss: Loss | None
    has_begun: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)

    @property
    def database(self) -> str:
        """Name of the restored database."""
        return self.marker.restoring.beside

    @property
    def previous_database(self) -> str:
        """What the live database will be called."""
        return self.marker.restoring.previous

    def swap(self, *, unless_written_since: Since | None, cuts_off: bool = False) -> Restored:
        """Make it the live database, unless others wrote since; None agrees to whatever is lost.

        Requests are held meanwhile (hold.py); those that do not end in time stop the swap, unless
        it `cuts_off`. Raises RestoreFailed with the live database untouched and open again,
        RestoreUnfinished with it swapped, SwapUnfinished if a person must look.
        """
        with noted(Kind.RESTORE, **self.job.names, kept=self.previous_database):
            return self._swap(_Door(self, unless_written_since), cuts_off)

    def _swap(self, door: "_Door", cuts_off: bool) -> Restored:
        self.job.database.wait_for_swap()
        self.job.lock.check()
        self.marker.write(SWAPPING)
        self.has_begun = True
        self.job.progress.say(
            f"Swapping the databases; the current one will be renamed to {self.previous_database}"
        )
        try:
            with clients_held(
                self.job.database, self._reason(), self.job.progress, cuts_off=cuts_off
            ):
                self._swap_all(door)
            restored = self._restored(door)
        except SwapUnfinished:
            raise
        except BaseException as error:
            self._raise_if_swapped(error)
            raise
        self.is_finished = True
        self.marker.remove()
        return restored

    def _reason(self) -> Reason:
        contents = self.job.contents
        is_backup = isinstance(self.job, RestoreJob)
        what = (contents.id,) if is_backup else ("--to-point", self.database)
        words = ("restore", *what, "--end-requests")
        return Reason(
            f"restore of {what[-1]}",
            "the swap",
            "Restore again when no request takes that long, raise "
            "DEPLOY_OPS_HOLD_SECONDS (they get half of it), or cut them off:\n"
            + manage(*words, alias=self.job.alias),
        )

    def end(self, error: BaseException | None) -> None:
        """Discard what was not swapped; raises RestoreUnfinished if it was, and only half done."""
        if self.is_finished:
            return
        if self.has_begun:
            self._raise_if_swapped(error)
        if isinstance(self.job, RestoreJob):
            discard(self.job, self.marker)
        else:  # a safety point is there for the next try
            self.marker.remove()

    def _raise_if_swapped(self, error: BaseException | None) -> None:
        """Ask the server, since an error can come up after its COMMIT."""
        try:
            there = self.job.database.databases_beside()
        except DatabaseUnavailable as second:
            raise self._unknown() from second
        if self.previous_database in there and self.database not in there:
            raise self._unfinished(error) from error

    def _swap_all(self, door: "_Door") -> None:
        """The database, and the uploads after it."""
        self.job.database.swap(self.database, self.previous_database, before=door.pass_or_stop)
        if uploads := self.marker.restoring.media:
            media.swap(uploads)

    def _restored(self, door: "_Door") -> Restored:
        """What came of it, and what was lost in the end, which takes its time to be counted."""
        uploads = self.marker.restoring.media
        return Restored(
            self.job.database.identify().name,
            self.previous_database,
            previous_media=str(uploads.previous) if uploads and uploads.previous.exists() else None,
            view_differences=self.view_differences,
            loss=door.loss_in_the_end(),
        )

    def _unknown(self) -> SwapUnfinished:
        return SwapUnfinished(
            f"The server went away after the swap of {self.database} had begun, so whether it took "
            "place is not known. Both databases are kept, and the live one may refuse connections. "
            "Once the server answers, this finishes or undoes it:\n"
            + manage("restore", alias=self.job.alias)
        )

    def _unfinished(self, error: BaseException | None) -> RestoreUnfinished:
        reason = "it was stopped by the operator"
        if error is not None and not isinstance(error, KeyboardInterrupt):
            reason = error_text(error)
        return RestoreUnfinished(
            f"The live database has the contents of {self.job.contents.title}, and the database "
            f"before it is kept as {self.previous_database}. What comes after the swap was not "
            f"finished: {reason}\n"
            f"This finishes it:\n{manage('restore', alias=self.job.alias)}",
            previous_database=self.previous_database,
        )


@contextmanager
def ended(prepared: PreparedRestore) -> Iterator[PreparedRestore]:
    """Discard in the end what the block has not swapped."""
    try:
        yield prepared
    except SwapUnfinished:
        raise
    except BaseException as error:
        prepared.end(error)
        raise
    prepared.end(None)


class _Door:
    """What is asked while nobody can write any more, where the answer is final."""

    def __init__(self, prepared: PreparedRestore, since: Since | None) -> None:
        self._prepared = prepared
        self._since = since
        self._found: tuple[Writes, Json] | None = None

    def pass_or_stop(self) -> None:
        """Raise what stops the swap."""
        job = self._prepared.job
        job.lock.check()
        if self._since is not None:
            require_nobody_wrote(job.database, self._since, NOT_SWAPPED)
            return
        # Agreed to, whatever it is; but then what was counted before may not be all of it.
        more = job.database.writes_since(self._prepared.counted.write_position, own_rows={})
        if more.answer is not Answer.NOBODY:
            writes = job.database.writes_since(job.contents.write_position, own_rows={})
            self._found = writes, job.database.write_position()

    def loss_in_the_end(self) -> Loss | None:
        """Count the database before, whose rows are those behind the door; None: as before."""
        before = self._prepared.loss
        if self._found is None or before is None:
            return None
        (writes, position), job, previous = (
            self._found,
            self._prepared.job,
            self._prepared.previous_database,
        )
        counts, sequences = job.database.count_rows(previous)
        return replace(
            before,
            rows=rows_lost(job.contents, counts),
            sequences=values_lost(job.contents, sequences),
            writes=writes,
            lsn_now=position.get("lsn"),
        )
