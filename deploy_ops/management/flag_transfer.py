"""Flags that are looked at and carried as a whole: `flags who`, `flags export`, `flags import`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.errors import UnknownFlag, UsageError
from deploy_ops.files import read_named
from deploy_ops.flags.audience import Audience, answer_for, find_audience
from deploy_ops.flags.overview import flag_overview
from deploy_ops.flags.state import State
from deploy_ops.flags.stored import flags_alias
from deploy_ops.flags.transfer import PlannedChange, export_flags, import_flags, plan_import
from deploy_ops.management import flag_list
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.flag_people import named_users, operator

NAMES_SHOWN = 20

Options = Mapping[str, Any]
Outcome = tuple[int, Json]


def who(command: OpsCommand, options: Options) -> Outcome:
    """say who has a flag, or whether somebody has it, and why"""
    name = options["name"]
    state = flag_overview(name).state
    if state is None:
        raise UnknownFlag(f"{name!r} is not declared, so nobody has it.")
    if options["users"]:
        return _say_of_each(command, name, state, options["users"])
    audience = find_audience(state)
    command.tell(f"{name}: {_spoken(audience)}")
    command.tell("Visitors without a login are not counted.")
    facts = {"included": len(audience.names), "looked_at": audience.looked_at}
    names = {"users": audience.users, "names": list(audience.names)}
    return 0, {"status": "ok", "flag": name, **facts, **names}


def export(command: OpsCommand, _options: Options) -> Outcome:
    """print the rules of all flags as JSON, for another database or for safekeeping"""
    document = export_flags()
    if not command.as_json:
        command.tell(json.dumps(document, indent=2, ensure_ascii=False))
    return 0, {"status": "ok", **document}


def import_file(command: OpsCommand, options: Options) -> Outcome:
    """give flags the rules of a file, all of them or none; --plan shows what would change"""
    planned = plan_import(_read(options["file"]))
    for change in planned:
        command.tell(f"{change.name}: {_words(change)}")
    changes = [_facts(change) for change in planned]
    if not planned:
        command.report("All flags have these rules already. Nothing was changed.")
        return 0, {"status": "nothing_to_do", "changes": []}
    if options["plan"]:
        words = manage("flags", "import", options["file"], alias=flags_alias())
        command.tell(f"Nothing was changed. Carry it out:\n{words}")
        return 0, {"status": "planned", "changes": changes}
    reason = options["reason"] or f"Import of {_spoken_name(options['file'])}."
    import_flags(planned, by=operator(), reason=reason)
    command.report(f"Every process sees it within {conf.flags_poll_seconds:g} s.")
    return 0, {"status": "ok", "changes": changes}


def _say_of_each(command: OpsCommand, name: str, state: State, users: list[str]) -> Outcome:
    found = [(str(user.get_username()), answer_for(state, user)) for user in named_users(users)]
    for user, answer in found:
        command.tell(f"{user}: {'on' if answer.enabled else 'off'} ({answer.reason})")
    answers = [{"user": user, **answer._asdict()} for user, answer in found]
    return 0, {"status": "ok", "flag": name, "answers": answers}


def _spoken(audience: Audience) -> str:
    users = f"{audience.looked_at} users"
    if not audience.is_complete:
        users = f"{audience.looked_at} users that were looked at, of {audience.users}"
    names = ", ".join(audience.names[:NAMES_SHOWN])
    more = len(audience.names) - NAMES_SHOWN
    listed = f": {names}{f' and {more} more' if more > 0 else ''}" if names else ""
    return f"{len(audience.names)} of {users}{listed}."


def _read(name: str) -> str:
    """The text of a file; UsageError if there is none."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else read_named(Path(name))
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        fault = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{name} cannot be read: {fault}. Nothing was changed.") from None


def _spoken_name(name: str) -> str:
    return "standard input" if name == "-" else Path(name).name


def _words(change: PlannedChange) -> str:
    facts = _facts(change)
    return f"{flag_list.spoken(facts['old'])} -> {flag_list.spoken(facts['new'])}"


def _facts(change: PlannedChange) -> Json:
    return {
        "flag": change.name,
        "old": change.before.as_json() if change.before else None,
        "new": change.after.as_json() if change.after else None,
    }
