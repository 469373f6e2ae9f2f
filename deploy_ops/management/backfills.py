"""The actions of `manage.py backfill`: options in, exit code and JSON out, text on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils import timezone

from deploy_ops.audit import Kind
from deploy_ops.errors import NotInThisCode
from deploy_ops.management.base import Json, OpsCommand, spoken_age
from deploy_ops.models import BackfillProgress
from deploy_ops.phases.backfill import control
from deploy_ops.phases.backfill.pressure import Limits
from deploy_ops.phases.backfill.framework import has_workers
from deploy_ops.phases.backfill.queue import start
from deploy_ops.trail import watched

HEADINGS = ("BACKFILL", "STATE", "ROWS READ", "WRITTEN", "LAST BATCH", "DOES", "NOTES")
OPEN = (control.State.WAITING, control.State.UNFINISHED)
FACTS = (
    *("name", "description", "rows_total", "rows_read", "rows_written", "release"),
    *("created_at", "started_at", "updated_at", "paused_at", "cancelled_at", "done_at"),
    *("waits_for", "last_error"),
)
Options = Mapping[str, Any]
Outcome = tuple[int, Json]
Action = Callable[[OpsCommand, Options], Outcome]


def list_backfills(command: OpsCommand, options: Options) -> Outcome:
    """list all backfills, with how far they are and what they wait for"""
    found = control.all_backfills(options["database"])
    if found:
        now = timezone.now()
        command.tell_table(HEADINGS, [_cells(each, now) for each in found])
    else:
        command.tell("There is no backfill.")
    return 0, {"status": "ok", "backfills": [_facts(each) for each in found]}


def run(command: OpsCommand, options: Options) -> Outcome:
    """work on a backfill, or on each that is not finished, until it is done"""
    alias, limits = options["database"], Limits.of_settings()
    if options["rows_per_second"]:
        limits = replace(limits, rows_per_second=options["rows_per_second"])
    names = [options["name"]] if options["name"] else _open_names(alias)
    if options["enqueue"]:
        return _enqueue(command, alias, names)
    done = []
    for name in names:
        try:
            with watched(Kind.BACKFILL, database=alias, backfill=name):
                rows = control.work_on(alias, name, limits, command.progress)
        except NotInThisCode as error:
            if options["name"]:
                raise
            command.report(f"{name} is skipped. {error}")
            continue
        command.report(f"{name}: done, {rows} rows written")
        done.append(name)
    if not names:
        command.report("No backfill has anything left to do.")
    return 0, {"status": "ok" if done else "nothing_to_do", "backfills": done}


def _enqueue(command: OpsCommand, alias: str, names: list[str]) -> Outcome:
    for name in names:
        start(alias, name)
        command.report(f"{name}: enqueued for the workers of the task framework")
    if not names:
        command.report("No backfill has anything left to do.")
    return 0, {"status": "enqueued" if names else "nothing_to_do", "backfills": names}


def pause(command: OpsCommand, options: Options) -> Outcome:
    """let all workers of a backfill wait, from their next batch on"""
    return _told(command, options, control.pause, "paused; workers wait before their next batch")


def resume(command: OpsCommand, options: Options) -> Outcome:
    """go on with a backfill that was paused or cancelled"""
    outcome = _told(command, options, control.resume, "resumed; workers that wait go on within 1 s")
    if has_workers():
        start(options["database"], options["name"])
    return outcome


def cancel(command: OpsCommand, options: Options) -> Outcome:
    """end a backfill before it is done; what is written stays"""
    return _told(command, options, control.cancel, "cancelled; what was written stays")


ACTIONS: Mapping[str, Action] = {
    "list": list_backfills,
    "run": run,
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
}


def _told(
    command: OpsCommand, options: Options, act: Callable[[str, str], bool], text: str
) -> Outcome:
    name = options["name"]
    if act(options["database"], name):
        command.report(f"{name}: {text}")
        return 0, {"status": "ok", "backfill": name}
    command.report(f"{name} already is in that state. Nothing was changed.")
    return 0, {"status": "nothing_to_do", "backfill": name}


def _open_names(alias: str) -> list[str]:
    return [each.name for each in control.all_backfills(alias) if control.state_of(each) in OPEN]


def _cells(found: BackfillProgress, now: datetime) -> Sequence[str]:
    read = written = age = ""
    if found.started_at:
        read = f"{found.rows_read} of about {max(found.rows_total, found.rows_read)}"
        written = str(found.rows_written)
    if found.updated_at:
        age = f"{spoken_age(now - found.updated_at)} ago"
    notes = (
        f"waits: {found.waits_for}" if found.waits_for else "",
        f"last error: {found.last_error}" if found.last_error else "",
    )
    return (
        found.name,
        control.state_of(found),
        read,
        written,
        age,
        found.description,
        "; ".join(filter(None, notes)),
    )


def _facts(found: BackfillProgress) -> Json:
    return {"state": control.state_of(found)} | {name: getattr(found, name) for name in FACTS}
