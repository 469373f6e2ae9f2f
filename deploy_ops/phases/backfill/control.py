"""Backfills by name: which there are, pause, resume and cancel them, and work on one."""

from enum import StrEnum

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.models.functions import Now

from deploy_ops.advice import manage
from deploy_ops.errors import BackfillRefused, NotInThisCode, UnknownBackfill
from deploy_ops.models import BackfillProgress
from deploy_ops.phases.backfill.entry import check_table
from deploy_ops.phases.backfill.filling import Filling
from deploy_ops.phases.backfill.ledger import Given
from deploy_ops.phases.backfill.pressure import Limits
from deploy_ops.phases.backfill.run import run, run_for
from deploy_ops.phases.operations.backfill import Backfill
from deploy_ops.phases.waiting import state_before
from deploy_ops.phases.where import place_of, walk
from deploy_ops.progress import Progress


class State(StrEnum):
    """How far a backfill is."""

    WAITING = "waiting"
    UNFINISHED = "unfinished"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"


def state_of(found: BackfillProgress) -> State:
    """What its moments say."""
    states = {
        State.DONE: found.done_at,
        State.CANCELLED: found.cancelled_at,
        State.PAUSED: found.paused_at,
        State.UNFINISHED: found.started_at,
    }
    return next((state for state, since in states.items() if since), State.WAITING)


def all_backfills(alias: str) -> list[BackfillProgress]:
    """Those with a row, oldest first."""
    check_table(connections[alias])
    return list(BackfillProgress.objects.using(alias))


def find_backfill(alias: str, name: str) -> BackfillProgress:
    """The one of this name; raises UnknownBackfill."""
    found = all_backfills(alias)
    for each in found:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in found) or "none"
    raise UnknownBackfill(
        f"There is no backfill {name!r}; there are: {names}. Nothing was changed."
    )


def pause(alias: str, name: str) -> bool:
    """Let all workers wait before their next batch; False if they did already."""
    return _change(alias, _unfinished(alias, name), {"paused_at": Now()}, paused_at__isnull=True)


def resume(alias: str, name: str) -> bool:
    """Undo pause and cancel; False if neither was there."""
    found = _unfinished(alias, name)
    is_stopped = bool(found.paused_at or found.cancelled_at)
    return is_stopped and _change(alias, found, {"paused_at": None, "cancelled_at": None})


def cancel(alias: str, name: str) -> bool:
    """Let all workers give up before their next batch; False if it was cancelled already."""
    found = _unfinished(alias, name)
    return _change(alias, found, {"cancelled_at": Now()}, cancelled_at__isnull=True)


def work_on(alias: str, name: str, limits: Limits, progress: Progress) -> int:
    """Be one worker of a backfill until it is done; return how many rows it has written in all."""
    found = check_may_run(alias, name)
    if found.done_at:
        return found.rows_written
    connection = connections[alias]
    filling = _filling(connection, name)
    return run(connection, name, filling, progress=progress, limits=limits)


def work_a_while(alias: str, name: str, limits: Limits, seconds: float) -> Given:
    """Work on a backfill for about so long; RANGE if there is more, WAIT if not at once."""
    if check_may_run(alias, name).done_at:
        return Given.DONE
    connection = connections[alias]
    return run_for(connection, name, _filling(connection, name), limits, seconds)


def check_may_run(alias: str, name: str) -> BackfillProgress:
    """Return the backfill; raises UnknownBackfill, and BackfillRefused if it was stopped."""
    found = find_backfill(alias, name)
    if not found.done_at and (found.paused_at or found.cancelled_at):
        state = "cancelled" if found.cancelled_at else "paused"
        raise BackfillRefused(
            f"The backfill {name} is {state}. Nothing was changed. To go on with it:\n"
            + manage("backfill", "resume", name, alias=alias)
        )
    return found


def _unfinished(alias: str, name: str) -> BackfillProgress:
    found = find_backfill(alias, name)
    if found.done_at:
        raise BackfillRefused(f"The backfill {name} is done. Nothing was changed.")
    return found


def _change(
    alias: str, found: BackfillProgress, values: dict[str, object], **condition: bool
) -> bool:
    rows = BackfillProgress.objects.using(alias).filter(pk=found.pk, done_at=None)
    return bool(rows.filter(**condition).update(**values))


def _filling(connection: BaseDatabaseWrapper, name: str) -> Filling:
    """What the operation in the migration says, with the models as they are at that point."""
    loader, place = MigrationLoader(connection), place_of(name)
    migration = loader.graph.nodes.get((place.app, place.migration)) if place else None
    operation = dict(walk(migration.operations)).get(place.path) if place and migration else None
    if place is None or not isinstance(operation, Backfill):
        raise NotInThisCode(
            f"The code that runs here knows no operation of the backfill {name}. Nothing was "
            "changed. One that a migration of another release wrote is run by that release; one "
            "that is part of another operation goes on when its migration is run again:\n"
            + manage("safe_migrate", alias=connection.alias)
        )
    filling = operation.filling(place.app, connection, state_before(loader, place))
    assert filling is not None, "one that can write nothing has no row"
    return filling
