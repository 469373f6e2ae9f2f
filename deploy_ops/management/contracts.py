"""The actions of `manage.py contract`: what waits until the old release is gone."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connections

from deploy_ops.errors import ContractRefused, UsageError
from deploy_ops.lock import deploy_lock
from deploy_ops.management.base import Json, OpsCommand, spoken_age
from deploy_ops.management.migrations import show_result
from deploy_ops.management.tables import local_time
from deploy_ops.migrate.procedure import safe_migrate
from deploy_ops.migrate.run import Phase, Request
from deploy_ops.migrate.targets import ensure_connection
from deploy_ops.migrate.way_back import Done, done
from deploy_ops.phases.rows import set_skipped
from deploy_ops.phases.waiting import Waiting, all_waiting

Options = Mapping[str, Any]
Outcome = tuple[int, Json]

HEADINGS = ("OPERATION", "STATE", "TABLE", "RELEASE", "SINCE", "AGE", "DOES", "NOTES")
DONE_HEADINGS = ("OPERATION", "TABLE", "RAN", "AGE", "DID", "WAY BACK")


def list_waiting(command: OpsCommand, options: Options) -> Outcome:
    """list what waits, in the order in which it will run; with --all what has run, too"""
    waiting = _waiting(options["database"])
    now = datetime.now(UTC)
    if waiting:
        command.tell_table(HEADINGS, [_cells(each, now) for each in waiting])
    else:
        command.tell("Nothing waits for the contract phase.")
    facts: Json = {"status": "ok", "waiting": [_facts(each, now) for each in waiting]}
    return 0, facts | ({"done": _tell_done(command, options, now)} if options["with_done"] else {})


def _tell_done(command: OpsCommand, options: Options, now: datetime) -> list[Json]:
    found = done(options["database"])
    command.tell("")
    if found:
        command.tell_table(DONE_HEADINGS, [_cells_of_done(each, now) for each in found])
    else:
        command.tell("No contract has run.")
    return [
        {
            "operation": str(each.row.place),
            "description": each.row.description,
            "table": each.row.table,
            "done_at": each.row.done_at,
            "is_lossless": each.is_lossless,
            "backup": each.backup,
        }
        for each in found
    ]


def run(command: OpsCommand, options: Options) -> Outcome:
    """run what waits: safe_migrate --phase contract"""
    request = Request(
        alias=options["database"],
        phase=Phase.CONTRACT,
        safety=options["safety"],
        force=options["force"],
    )
    result = safe_migrate(request, progress=command.progress)
    return result.exit_code, show_result(result, command)


def skip(command: OpsCommand, options: Options) -> Outcome:
    """skip one operation, with a reason, until unskip"""
    return _set_skipped(command, options, options["reason"])


def unskip(command: OpsCommand, options: Options) -> Outcome:
    """let a skipped operation run with the others again"""
    return _set_skipped(command, options, "")


ACTIONS: Mapping[str, Callable[[OpsCommand, Options], Outcome]] = {
    "list": list_waiting,
    "run": run,
    "skip": skip,
    "unskip": unskip,
}


def _waiting(alias: str) -> list[Waiting]:
    ensure_connection(connections[alias])
    return all_waiting(connections[alias])


def _set_skipped(command: OpsCommand, options: Options, reason: str) -> Outcome:
    alias, name = options["database"], options["operation"]
    with deploy_lock(alias, purpose="contract"):
        waiting = {str(each.row.place): each for each in _waiting(alias)}
        if name not in waiting:
            there = f"There are: {', '.join(waiting)}." if waiting else "Nothing waits."
            raise UsageError(f"No operation '{name}' waits. {there} Nothing was changed.")
        if reason and waiting[name].frees_table:
            raise ContractRefused(
                f"{name} cannot be skipped: with what it removes still there, the table's other "
                "operations would fail, or writes after them. Nothing was changed."
            )
        set_skipped(connections[alias], waiting[name].row.place, reason)
    command.report(f"{name} is skipped." if reason else f"{name} runs with the next contract.")
    return 0, {"status": "ok", "operation": name, "skipped_because": reason or None}


def _cells(each: Waiting, now: datetime) -> Sequence[str]:
    row = each.row
    notes = (
        f"after the backfill {row.waits_for}" if row.waits_for else "",
        row.skipped_because,
        row.last_error,
    )
    return (
        str(row.place),
        _state(each),
        row.table or "",
        row.release,
        local_time(row.created_at),
        spoken_age(now - row.created_at),
        row.description,
        "; ".join(filter(None, notes)),
    )


def _state(each: Waiting) -> str:
    if each.row.skipped_because:
        return "skipped"
    if each.found is None:
        return "not in this code"
    times = f"{each.row.attempts} times" if each.row.attempts > 1 else "once"
    return f"failed {times}" if each.row.last_error else "waits"


def _cells_of_done(each: Done, now: datetime) -> Sequence[str]:
    row = each.row
    ran, age = ("", "")
    if row.done_at:
        ran, age = local_time(row.done_at), spoken_age(now - row.done_at)
    return str(row.place), row.table or "", ran, age, row.description, str(each)


def _facts(each: Waiting, now: datetime) -> Json:
    row = each.row
    return {
        "operation": str(row.place),
        "description": row.description,
        "table": row.table,
        "release": row.release,
        "age_seconds": round((now - row.created_at).total_seconds()),
        "is_known": each.found is not None,
        "waits_for": row.waits_for or None,
        "skipped_because": row.skipped_because or None,
        "attempts": row.attempts,
        "last_error": row.last_error or None,
    }
