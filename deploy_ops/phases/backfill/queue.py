"""Backfills on the workers that a project has, by Django's task framework where there is one."""

from datetime import timedelta

from django.utils import timezone

from deploy_ops.advice import manage
from deploy_ops.errors import BackfillRefused
from deploy_ops.phases.backfill import control
from deploy_ops.phases.backfill.framework import has_workers
from deploy_ops.phases.where import place_of
from deploy_ops.progress import Progress
from deploy_ops.redact import error_text

IDLE = timedelta(minutes=1)  # without a batch for so long nobody works on it


def enqueue(alias: str, name: str) -> None:
    """Put a slice of a backfill into the queue, which puts in the next one when it has ended."""
    from deploy_ops.phases.backfill.tasks import put_into_queue  # needs the framework

    put_into_queue(alias, name)


def start(alias: str, name: str) -> None:
    """Let the workers of the project do a backfill; raises UnknownBackfill, BackfillRefused."""
    control.check_may_run(alias, name)
    if not has_workers():
        raise BackfillRefused(
            f"{name} cannot be enqueued: TASKS of the settings names no backend with workers, "
            "or neither Django 6.0 nor the package django-tasks is installed. Nothing was "
            f"changed. Work on it here:\n{manage('backfill', 'run', name, alias=alias)}"
        )
    enqueue(alias, name)


def start_idle(alias: str, progress: Progress) -> None:
    """Let the workers of the project do what nobody works on; says what hinders it."""
    try:
        for name in _idle(alias) if has_workers() else ():
            enqueue(alias, name)
            progress.say(f"The backfill {name} is left to the workers of the task framework.")
    except Exception as error:  # pylint: disable=broad-exception-caught  # foreign code
        progress.say(
            f"Backfills could not be enqueued ({error_text(error)}). Once that is fixed:\n"
            + manage("backfill", "run", "--enqueue", alias=alias)
        )


def _idle(alias: str) -> list[str]:
    """Names of the detached ones that nobody works on."""
    before = timezone.now() - IDLE
    return [
        each.name
        for each in control.all_backfills(alias)
        if control.state_of(each) in (control.State.WAITING, control.State.UNFINISHED)
        and (each.updated_at is None or each.updated_at < before)
        and place_of(each.name)
    ]
