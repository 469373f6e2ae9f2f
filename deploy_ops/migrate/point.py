"""The safety point of a run: made before its first step, and saved as a backup in the end."""

from contextlib import AbstractContextManager, contextmanager
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta

from django.core.checks import Error

from deploy_ops.advice import manage
from deploy_ops.backup.create import take_backup
from deploy_ops.backup.verification import scratch_database
from deploy_ops.conf import conf
from deploy_ops.errors import (
    ArchiveFailed,
    ConfigurationError,
    DeployOpsError,
    LockHeld,
    PointFailed,
    PointTooSlow,
    RestoreFailed,
)
from deploy_ops.migrate.run import Run
from deploy_ops.migrate.safety import Choice, Safety, choose
from deploy_ops.restore import PreparedRestore, Since, prepare_point, prepare_restore
from deploy_ops.restore.hold import Reason, clients_held
from deploy_ops.restore.point import contents_of_clone


def make_point(run: Run) -> None:
    """Take a backup, or clone the database, as asked for or by facts.

    Raises PointRefused, PointFailed, BackupFailed.
    """
    if run.backup is not None:  # of the run before this one, which went on to this
        run.journal.record("backed_up", backup=run.backup.id)
        run.result.backup = run.backup.id
        return
    request = run.request
    may_end = request.may_end_sessions or request.exclusive
    choice = run.result.safety = choose(run.alias, request.safety, may_end_sessions=may_end)
    if choice.method is Safety.NONE:
        run.progress.say(
            "No backup is taken (--no-backup), so none can be restored after a failure."
        )
    elif choice.method is Safety.CLONE:
        _clone_or_back_up(run, cuts_off=may_end)
    elif choice.method is Safety.RESTORE_POINT:
        _make_restore_point(run)
    else:
        _back_up(run)


def _make_restore_point(run: Run) -> None:
    """The backup is made of the archive if it is needed."""
    from deploy_ops.backup.methods import restore_point  # needs psycopg

    name = restore_point.name_before(run.journal.run)
    run.journal.record("point_started", method=Safety.RESTORE_POINT, name=name)
    with run.result.timed("restore_point"):
        try:
            run.restore_point = restore_point.make(run.alias, name, run.progress)
        except ArchiveFailed as error:
            if run.request.safety is Safety.RESTORE_POINT:
                raise
            run.progress.say(f"{error}\nA backup is taken instead.")
            _back_up_instead(run, error)
            return
    run.journal.record("point_made", method=Safety.RESTORE_POINT, name=name)
    run.progress.say(f"Restore point {name} is in the archive")


def _clone_or_back_up(run: Run, *, cuts_off: bool) -> None:
    try:
        _clone(run, cuts_off)
    except PointFailed as error:
        if run.request.safety is Safety.CLONE:
            raise
        run.progress.say(f"{error}\nThe database was not changed. A backup is taken instead.")
        _back_up_instead(run, error)


def _back_up_instead(run: Run, error: DeployOpsError) -> None:
    choice = run.result.safety
    assert choice is not None
    others = {**choice.others, choice.method: str(error)}
    others.pop(Safety.DUMP, None)
    run.result.safety = Choice(Safety.DUMP, None, others)
    _back_up(run)


def _clone(run: Run, cuts_off: bool) -> None:
    from deploy_ops.backup.methods import clone  # needs psycopg

    planned = clone.plan(run.alias)
    limit = timedelta(seconds=min(conf.clone_limit, conf.hold_seconds / 2))
    run.progress.say(f"Cloning {run.database.database_name} to {planned.database}")
    clone.prepare(run.alias)
    run.journal.record("point_started", method=Safety.CLONE, database=planned.database)
    with run.result.timed("clone"):
        try:
            run.database.wait_for_swap()  # not while clients are held, which may take too long
            with clients_held(run.database, _reason(run), run.progress, cuts_off=cuts_off):
                run.lock.check()
                run.clone = clone.make(planned, limit)
        except (RestoreFailed, LockHeld, ConfigurationError) as error:  # of who holds clients
            raise PointFailed(f"No clone was made: {error}") from error
        except PointTooSlow:
            run.journal.record("point_too_slow", **asdict(clone.tried(run.alias, limit)))
            raise
    run.journal.record("point_made", method=Safety.CLONE, **run.clone.as_json())
    run.progress.say(f"{planned.database} is a clone of it, made in {run.clone.seconds:.1f} s")


def _reason(run: Run) -> Reason:
    dump = run.request.again("--safety", Safety.DUMP)
    return Reason(
        "clone before a migration",
        "the clone",
        "Run it again when there are none that long, give them longer by DEPLOY_OPS_HOLD_SECONDS, "
        f"half of which is theirs, or take a backup, which cuts nobody off:\n{dump}",
    )


def _back_up(run: Run) -> None:
    run.journal.record("backup_started")
    with run.result.timed("backup"):
        run.backup = take_backup(
            run.alias,
            lock=run.lock,
            run=run.journal.run,
            progress=run.progress,
            source=run.clone.as_source() if run.clone else None,
        )
    run.journal.record("backed_up", backup=run.backup.id)
    run.result.backup = run.backup.id
    run.progress.say(f"Backup {run.backup.id} is verified")


def save_point(run: Run) -> None:
    """Make a backup of the clone, if there is one, and drop it; if that fails, it stays."""
    if run.clone is None:
        return
    kept = run.clone.database
    run.progress.say(f"Taking the backup from {kept}; the live database is not read for it")
    try:
        _back_up(run)
        run.database.drop(kept)
    except DeployOpsError as error:
        run.result.findings.append(_not_saved(run, kept, error))
    else:
        run.clone = None


def drop_point(run: Run) -> None:
    """Drop the clone of a run that has begun no migration, if there is one."""
    if run.clone is None:
        return
    try:
        run.database.drop(run.clone.database)
    except DeployOpsError as error:  # why the run ended is what is told
        run.progress.say(str(error))


def _not_saved(run: Run, kept: str, error: DeployOpsError) -> Error:
    prune = manage("backups", "prune", "--previous-databases", "--min-age", "0s", alias=run.alias)
    return Error(
        f"{kept}, the clone of the database from before the run, stays: {error}",
        hint="What the run did is not affected. The clone is on the disk of the database. This "
        f"lists it among what can go, once it is not needed:\n{prune}",
        id="deploy_ops.V006",
    )


def since_point(run: Run) -> Since:
    """The moment of the safety point, and what this run has written itself since."""
    if run.clone is not None:
        return Since(run.clone.write_position, "the clone was made", run.own_rows)
    if run.restore_point is not None:
        return Since(run.restore_point.write_position, "the restore point was made", run.own_rows)
    assert run.backup is not None
    return Since(run.backup.manifest.write_position, "the backup began", run.own_rows)


def prepare_put_back(run: Run) -> AbstractContextManager[PreparedRestore]:
    """Prepare what puts the safety point back; raises RestoreError, BackupError."""
    if run.restore_point is not None:
        _save_restore_point(run)
    if run.clone is None:
        assert run.backup is not None
        return prepare_restore(run.backup, alias=run.alias, lock=run.lock, progress=run.progress)
    return prepare_point(
        contents_of_clone(run.clone),
        run.clone.database,
        alias=run.alias,
        lock=run.lock,
        progress=run.progress,
    )


def _save_restore_point(run: Run) -> None:
    """Make a backup of what the database was at the restore point, out of the archive."""
    from deploy_ops.restore.point_in_time import backup_of, moment_of_point  # needs psycopg

    assert run.restore_point is not None
    moment = moment_of_point(run.alias, run.restore_point.name)
    run.backup = backup_of(moment, alias=run.alias, lock=run.lock, progress=run.progress)
    run.journal.record("backed_up", backup=run.backup.id)
    run.result.backup = run.backup.id
    run.restore_point = None


@contextmanager
def scratch_copy(run: Run) -> Iterator[str]:
    """A database with what the safety point has, to try things in; dropped in the end."""
    if run.restore_point is not None:
        _save_restore_point(run)
    if run.clone is None:
        assert run.backup is not None
        with scratch_database(run.backup, alias=run.alias, progress=run.progress) as name:
            yield name
        return
    from deploy_ops.backup.methods import clone  # needs psycopg

    name = clone.copy(run.clone)
    try:
        yield name
    finally:
        run.database.drop(name)


def title_of(run: Run) -> str:
    """The safety point as it is named in sentences."""
    if run.clone is not None:
        return f"clone {run.clone.database}"
    if run.restore_point is not None:
        return f"restore point {run.restore_point.name}"
    return f"backup {run.backup.id}" if run.backup else "no backup"
