"""Putting a backup back: verify, look, restore beside, compare, ask, exchange, keep the old."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from deploy_ops.advice import manage
from deploy_ops.backup.catalog import opened
from deploy_ops.backup.create import take_backup
from deploy_ops.backup.entry import Backup, Level
from deploy_ops.backup.interrupted import (
    SWAPPING,
    Trace,
    has_interrupted,
    resume_interrupted,
    traced,
)
from deploy_ops.backup.methods import Method, method_for
from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.restore_media import (
    MediaPaths,
    check_media,
    copy_beside,
    discard,
    exchange,
    media_paths,
)
from deploy_ops.backup.trust import require_usable
from deploy_ops.backup.verification import verify_backup
from deploy_ops.databases import Database, database_for
from deploy_ops.databases.base import Answer, Counts, Json, Writes
from deploy_ops.errors import RestoreFailed, RestoreRefused, RestoreUnfinished, SwapUnfinished
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent
from deploy_ops.redact import error_text

__all__ = ["Loss", "Restored", "has_interrupted", "restore_backup", "resume_interrupted"]


@dataclass(frozen=True, slots=True)
class Loss:
    """What the restore takes out of the live database.

    `rows` is the live count minus the backup's of every table where they differ; `writes` is what
    the server counted, updates too; `lsn_*` are positions in the write-ahead log, if there is one;
    `stays_in` says where all of it can still be found.
    """

    place: str
    age: timedelta
    rows: Counts
    writes: Writes
    lsn_then: str | None
    lsn_now: str | None
    stays_in: str


@dataclass(frozen=True, slots=True)
class Restored:
    """Where the restored database is, and what the one before is called (None without exchange).

    `view_differences` tells which materialized views came out other than at the backup.
    """

    database: str
    kept: str | None
    media_kept: str | None = None
    safety_backup: str | None = None
    view_differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restore:  # pylint: disable=too-many-instance-attributes  # the parameters of restore_backup
    """One restore: what goes where, and who is told."""

    backup: Backup
    alias: str
    lock: DeployLock
    confirm: Callable[[Loss], None]
    before_swap: Callable[[Database], None] | None
    on_step: Callable[[str, Json], None]
    progress: Progress
    jobs: int

    @cached_property
    def stamp(self) -> str:
        """A time that no name beside the live database has yet: two restores in one second."""
        taken = " ".join(self.database.databases_beside())
        while (stamp := f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}") in taken:
            time.sleep(0.1)
        return stamp

    @property
    def database(self) -> Database:
        """The database of the alias."""
        return database_for(self.alias)

    @property
    def method(self) -> Method:
        """How a backup of it is put back."""
        return method_for(self.alias)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the backup."""
        return self.backup.manifest


def restore_backup(  # pylint: disable=too-many-arguments  # each a different caller's need
    backup: Backup,
    *,
    alias: str,
    lock: DeployLock,
    confirm: Callable[[Loss], None],
    jobs: int = 2,
    progress: Progress = Silent(),
    before_swap: Callable[[Database], None] | None = None,
    into: str | None = None,
    in_place: bool = False,
    on_step: Callable[[str, Json], None] = lambda step, facts: None,
) -> Restored:
    """Put a backup back; the database before it is kept under the name in the result.

    `confirm` declines by raising. `before_swap` runs when nobody can write any more and stops the
    exchange by raising; the database it is given can still be looked at. Without it the exchange
    stops if anybody wrote after what `confirm` was shown. `on_step` hears
    restore_started, restored_beside, swap_started, swapped, each before (or right after) what
    cannot be taken back. `into` names a new database instead of the exchange; `in_place` replaces
    the contents without a second database.

    Raises RestoreRefused, BackupCorrupt, BackupUntrusted, RestoreFailed; SwapUnfinished if a
    person must look.
    """
    work = Restore(backup, alias, lock, confirm, before_swap, on_step, progress, jobs)
    _verify(work)
    _look_ahead(work, into, in_place)
    with opened(backup) as plain:
        if into is not None:
            return _into(work, plain, into)
        if in_place:
            return _in_place(work, plain)
        return _beside_and_exchange(work, plain)


def _verify(work: Restore) -> None:
    """Compare every byte that is here; what is not is compared as it is fetched."""
    require_usable(work.backup, work.alias)
    if work.backup.is_here:
        verify_backup(work.backup, Level.HASH, alias=work.alias, progress=work.progress)


def _look_ahead(work: Restore, into: str | None, in_place: bool) -> None:
    """Find everything that stands in the way, before anything is touched."""
    if in_place:
        problems = work.method.check_in_place(work.manifest)
    else:
        problems = work.method.check_restore(work.manifest, into=into)
    if into is None:
        problems = [*problems, *check_media(work.manifest)]
    if problems:
        raise RestoreRefused(
            f"Backup {work.backup.id} cannot be restored:\n"
            + "\n".join(f"- {problem}" for problem in problems)
            + "\nNothing was changed."
        )


def _into(work: Restore, plain: Path, into: str) -> Restored:
    work.on_step("restore_started", {"backup": work.backup.id, "into": into})
    _restore_database(work, plain, into)
    _compare(work, work.database.count_rows(into), into)
    views = _compare_views(work, into)
    work.on_step("restored_beside", {"beside": into})
    uploads = " The uploads in it are left out." if work.manifest.media else ""
    work.progress.say(
        f"Backup {work.backup.id} is restored into {into}; nothing was exchanged.{uploads}"
    )
    return Restored(into, None, view_differences=views)


def _beside_and_exchange(work: Restore, plain: Path) -> Restored:
    beside = work.database.name_beside(f"restoring_{work.stamp}")
    kept = work.database.name_beside(f"before_restore_{work.stamp}")
    media = media_paths(work.stamp) if work.manifest.media else None
    with traced(work.database, work.backup.id, beside, kept, media) as trace:
        work.on_step("restore_started", {"backup": work.backup.id, "beside": beside})
        try:
            _restore_database(work, plain, beside)
            _restore_media(work, plain, media)
            views = _compare_views(work, beside)
            shown = work.database.mark()  # before the counting, so that nothing falls between
            work.confirm(_compared_loss(work, beside, kept))
            _exchange(work, trace, beside, kept, shown)
        except SwapUnfinished:
            raise
        except BaseException as error:
            if _is_swapped(work, beside, kept):
                raise _unfinished(work, kept, error) from error
            _discard(work, beside, media)
            raise
        try:
            if media:
                exchange(media)
            work.on_step("swapped", {"kept": kept})
            restored = _told(work, kept, media)
        except BaseException as error:
            raise _unfinished(work, kept, error) from error
    return replace(restored, view_differences=views)


def _is_swapped(work: Restore, beside: str, kept: str) -> bool:
    """Ask the server, since an error can come up after its COMMIT."""
    there = work.database.databases_beside()
    return kept in there and beside not in there


def _unfinished(work: Restore, kept: str, error: BaseException) -> RestoreUnfinished:
    stopped = isinstance(error, KeyboardInterrupt)
    reason = "it was stopped by the operator" if stopped else error_text(error)
    return RestoreUnfinished(
        f"Backup {work.backup.id} is live, and the database before it is kept as {kept}. What "
        f"comes after the exchange was not finished: {reason}\nThis finishes it:\n"
        f"{manage('restore', alias=work.alias)}",
        kept=kept,
    )


def _restore_database(work: Restore, plain: Path, name: str) -> None:
    work.method.restore_beside(
        plain / "database", work.manifest, name=name, jobs=work.jobs, progress=work.progress
    )


def _restore_media(work: Restore, plain: Path, media: MediaPaths | None) -> None:
    if media:
        copy_beside(plain / "media", media, work.progress)


def _compared_loss(work: Restore, beside: str, kept: str) -> Loss:
    """Count the restored and the live database at once: the proof, and what would be lost."""
    database, identity = work.database, work.database.identify()
    with ThreadPoolExecutor(2, "counting") as pool:
        live = pool.submit(database.count_rows, identity.name)
        _compare(work, database.count_rows(beside), beside)
        counts, _ = live.result()
    work.on_step("restored_beside", {"beside": beside})
    return _loss(work, counts, f"database {kept}")


def _compare(work: Restore, found: tuple[Counts, Counts], name: str) -> None:
    """Compare counts with the manifest; sequences are no part of a snapshot and may be ahead."""
    counts, sequences = found
    differences = [
        f"{table}: {counts.get(table, 'no table')} rows, {rows} in the backup"
        for table, rows in work.manifest.counts.items()
        if counts.get(table) != rows
    ]
    differences += [
        f"{sequence}: at {sequences.get(sequence, 'no sequence')}, {position} in the backup"
        for sequence, position in work.manifest.sequences.items()
        if sequences.get(sequence, position - 1) < position
    ]
    if differences:
        raise RestoreFailed(
            f"The restored database {name} is not what was backed up:\n"
            + "\n".join(f"- {line}" for line in differences)
            + "\nThe live database was not changed."
        )


def _compare_views(work: Restore, name: str) -> tuple[str, ...]:
    """Tell which materialized views came out otherwise; whether that is right a person decides."""
    differences = tuple(
        work.database.view_differences(name, work.manifest.extra.get("materialized_views", {}))
    )
    for sentence in differences:
        work.progress.say(sentence)
    return differences


def _loss(work: Restore, live: Counts, stays_in: str) -> Loss:
    then, identity = work.manifest.mark, work.database.identify()
    counts = work.manifest.counts
    rows = {name: live.get(name, 0) - counts.get(name, 0) for name in {*live, *counts}}
    return Loss(
        place=identity.place,
        age=datetime.now(UTC) - work.backup.created_at,
        rows={name: rows[name] for name in sorted(rows) if rows[name]},
        writes=work.database.writes_since(then, own_rows={}),
        lsn_then=then.get("lsn"),
        lsn_now=work.database.mark().get("lsn"),
        stays_in=stays_in,
    )


def _exchange(work: Restore, trace: Trace, beside: str, kept: str, shown: Json) -> None:
    database = work.database

    def before() -> None:
        work.lock.check()
        if work.before_swap is None:
            _stop_if_more_was_written(database, shown)
        else:
            work.before_swap(database)

    work.lock.check()
    work.on_step("swap_started", {"beside": beside, "kept": kept})
    trace.write(SWAPPING)
    work.progress.say(f"Exchanging the databases; the old one will be {kept}")
    database.swap(beside, kept, before=before)


def _stop_if_more_was_written(database: Database, shown: Json) -> None:
    """Ask behind the closed door, where the answer is final, whether the confirmed loss is all."""
    writes = database.writes_since(shown, own_rows={})
    if writes.answer is not Answer.NOBODY:
        rows = ", ".join(f"{rows} in {table}" for table, rows in writes.rows.items())
        more = f" Rows inserted, updated or deleted: {rows}." if rows else ""
        raise RestoreFailed(
            "More may have been written after it was shown what would be lost "
            f"({writes.evidence}).{more} The live database was not exchanged, and is open again. "
            "Stop what writes to it, then restore again."
        )


def _discard(work: Restore, beside: str, media: MediaPaths | None) -> None:
    work.database.drop(beside)
    if media:
        discard(media)


def _told(work: Restore, kept: str, media: MediaPaths | None) -> Restored:
    identity = work.database.identify()
    media_kept = str(media.kept) if media and media.kept.exists() else None
    also = f", the uploads before it as {media_kept}" if media_kept else ""
    work.progress.say(
        f"{identity.place} is now backup {work.backup.id}. The database before it is kept as "
        f"{kept}{also}. When nothing is missing:\n"
        "    python manage.py backups prune --kept-databases"
    )
    return Restored(identity.name, kept, media_kept)


def _in_place(work: Restore, plain: Path) -> Restored:
    """Replace the contents; the way back is a backup taken first, not a kept database."""
    database, identity = work.database, work.database.identify()
    counts, _ = database.count_rows(identity.name)
    work.confirm(_loss(work, counts, "a backup that is taken first"))
    options: dict[str, Any] = {"jobs": work.jobs, "progress": work.progress}
    label = f"before restoring {work.backup.id} in place"
    safety = take_backup(work.alias, lock=work.lock, label=label, **options)
    work.lock.check()
    work.on_step("restore_started", {"backup": work.backup.id, "safety_backup": safety.id})
    work.method.restore_in_place(plain / "database", work.manifest, progress=work.progress)
    work.on_step("swapped", {"kept": None})
    _compare(work, database.count_rows(identity.name), identity.name)
    views = _compare_views(work, identity.name)
    uploads = ", without the uploads in it" if work.manifest.media else ""
    work.progress.say(
        f"{identity.place} is now backup {work.backup.id}{uploads}. What was there before:\n"
        f"    python manage.py restore {safety.id} --in-place"
    )
    return Restored(identity.name, None, safety_backup=safety.id, view_differences=views)
