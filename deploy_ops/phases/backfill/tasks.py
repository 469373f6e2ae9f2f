"""The task that workers of a project run: one slice of a backfill.

Imported by workers, by its name, and where a slice is enqueued; needs the task framework. However
many of these run, no batch is done twice: ranges are claimed by row locks.
"""

import time
from datetime import timedelta
from typing import Any

from django.utils import timezone

from deploy_ops.errors import BackfillRefused, NotInThisCode, UnknownBackfill
from deploy_ops.phases.backfill import control
from deploy_ops.phases.backfill.ledger import Given
from deploy_ops.phases.backfill.pressure import Limits
from deploy_ops.phases.backfill.framework import can_put_off, framework

SLICE_SECONDS = 1.0  # other tasks of the worker wait for no longer
LATER = timedelta(seconds=5)
AFTER_DEPLOYMENT = timedelta(minutes=1)

_framework: Any = framework()


@_framework.task()  # type: ignore[untyped-decorator]
def work_on_slice(alias: str, name: str) -> str:
    """Work for a second, then enqueue the next slice, unless it is done or was stopped.

    A worker of the release before does not know the backfill: it puts it off. Returns what came of
    it, for whoever looks at the result.
    """
    try:
        given = control.work_a_while(alias, name, Limits.of_settings(), SLICE_SECONDS)
    except UnknownBackfill:
        return "gone"
    except NotInThisCode:
        if not can_put_off():
            raise
        put_into_queue(alias, name, AFTER_DEPLOYMENT)
        return "not in this code"
    except BackfillRefused:
        return "stopped"
    if given is Given.RANGE:
        put_into_queue(alias, name)
    elif given is Given.WAIT and can_put_off():
        put_into_queue(alias, name, LATER)
    elif given is Given.WAIT:
        time.sleep(SLICE_SECONDS)
        put_into_queue(alias, name)
    return given.name.lower()


def put_into_queue(alias: str, name: str, after: timedelta | None = None) -> None:
    """Enqueue a slice, now or for later."""
    task: Any = work_on_slice
    if after is not None:
        task = task.using(run_after=timezone.now() + after)
    task.enqueue(alias, name)
