"""The actions of `manage.py flags`: options in, exit code and JSON out, text on the way."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import wraps
from typing import Any

from django.db import Error as DatabaseFailure
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.errors import DatabaseUnavailable, InvalidRules, UsageError
from deploy_ops.flags.accounts import group_names
from deploy_ops.flags.audience import answer_for
from deploy_ops.flags.change import Source, change_flag, last_change, stored_rules, undo_change
from deploy_ops.flags.declaration import forced_flags
from deploy_ops.flags.moments import moment_in_zone
from deploy_ops.flags.overview import flag_overview, flag_overviews
from deploy_ops.flags.rules import Rules, parse_percentage
from deploy_ops.flags.stored import flags_alias
from deploy_ops.management import flag_list
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.flag_people import named_users, operator
from deploy_ops.management.flag_transfer import export, import_file, who
from deploy_ops.models import FlagChange
from deploy_ops.redact import redact

Options = Mapping[str, Any]
Outcome = tuple[int, Json]
Action = Callable[[OpsCommand, Options], Outcome]


def percentage(text: str) -> Decimal:
    """Read a percentage from 0 to 100 in steps of 0.01."""
    try:
        return parse_percentage(text)
    except InvalidRules as error:
        raise ArgumentTypeError(str(error)) from None


def moment(text: str) -> datetime:
    """Read `2027-01-31`, or with a time and a time zone; without one it is TIME_ZONE."""
    try:
        day = parse_date(text)
        found = datetime(day.year, day.month, day.day) if day else parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a date such as 2027-01-31 or 2027-01-31T08:00")
    try:
        return moment_in_zone(found) if timezone.is_naive(found) else found
    except InvalidRules as error:
        raise ArgumentTypeError(str(error)) from None


def attribute(text: str) -> tuple[str, str]:
    """Read `country=DE`."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ArgumentTypeError(f"{text!r} is not an attribute with a value, such as country=DE")
    return name, value


def list_flags(command: OpsCommand, options: Options) -> Outcome:
    """list all flags; with --stale those to be tidied up, and exit code 1 if there are any"""
    flags = [flag for flag in flag_overviews() if flag.is_stale or not options["stale"]]
    if flags:
        command.tell_table(flag_list.HEADINGS, flag_list.rows(flags, timezone.now()))
    else:
        command.tell("No flag is stale." if options["stale"] else "No flags are declared.")
    is_stale = bool(options["stale"] and flags)
    status = "stale" if is_stale else "ok"
    return int(is_stale), {"status": status, "flags": [flag_list.facts(flag) for flag in flags]}


def show(command: OpsCommand, options: Options) -> Outcome:
    """show everything about one flag, and with --user what it is for somebody and why"""
    flag = flag_overview(options["name"])
    facts = flag_list.facts(flag)
    if options["user"] and flag.state:
        evaluation = answer_for(flag.state, *named_users([options["user"]]))
        facts |= {"user": options["user"], **evaluation._asdict()}
    for name, value in facts.items():
        command.tell(f"{name}: {'' if value is None else value}")
    return 0, {"status": "ok", "flag": facts}


def switch_on(command: OpsCommand, options: Options) -> Outcome:
    """switch a flag on for everybody; its other rules are kept for later, but for dates"""
    return _change(command, options, lambda before: before.switched(True))


def switch_off(command: OpsCommand, options: Options) -> Outcome:
    """switch a flag off for everybody; its other rules are kept for later"""
    return _change(command, options, lambda before: before.switched(False))


def set_rules(command: OpsCommand, options: Options) -> Outcome:
    """switch a flag on for some; these rules replace the ones before"""
    named = {
        "percentage": options["percent"],
        "users": [str(user.pk) for user in named_users(options["user"])],
        "groups": _known_groups(options["group"]),
    }
    rules = replace(Rules.of({**options, **named}), attributes=frozenset(options["attribute"]))
    if rules == Rules():
        raise UsageError(
            "No rule was given. Nothing was changed. For example:\n"
            + manage("flags", "set", options["name"], "--percent", "5", alias=flags_alias())
        )
    return _change(command, options, lambda _before: rules)


def clear(command: OpsCommand, options: Options) -> Outcome:
    """remove the rules of a flag, so that its declaration decides"""
    return _change(command, options, lambda _before: None)


def undo(command: OpsCommand, options: Options) -> Outcome:
    """give a flag the rules that it had before its last change"""
    last = last_change(options["name"])
    if last is None:
        flag_overview(options["name"])  # raises UnknownFlag
        raise UsageError(f"{options['name']} was never changed, so there is nothing to undo.")
    entry = undo_change(last, by=operator(), source=Source.CLI, reason=options["reason"])
    return _report_change(command, entry)


def history(command: OpsCommand, options: Options) -> Outcome:
    """show who changed a flag, or any, newest first"""
    changes = FlagChange.objects.using(flags_alias())
    if options["name"]:
        changes = changes.filter(flag=options["name"])
        if not changes:
            flag_overview(options["name"])  # raises UnknownFlag
    if changes:
        command.tell_table(flag_list.CHANGE_HEADINGS, flag_list.change_rows(changes))
    else:
        command.tell("Nothing was changed yet.")
    return 0, {"status": "ok", "changes": [_entry(change) for change in changes]}


def _guarded(act: Action) -> Action:
    """Refuse another database than that of the flags, and say what works without that one."""

    @wraps(act)
    def guarded(command: OpsCommand, options: Options) -> Outcome:
        _refuse_another_database(options["database"])
        try:
            return act(command, options)
        except DatabaseFailure as error:
            raise DatabaseUnavailable(
                f"Flags cannot be read or changed: {redact(str(error)).strip()}\n"
                "Nothing was changed. Until the database is back, only the environment can change "
                "a flag, such as ENABLE_CSV_EXPORT=off for csv_export, from the application's next "
                "start on."
            ) from error

    return guarded


ACTIONS: Mapping[str, Action] = {
    "list": _guarded(list_flags),
    "show": _guarded(show),
    "on": _guarded(switch_on),
    "off": _guarded(switch_off),
    "set": _guarded(set_rules),
    "clear": _guarded(clear),
    "undo": _guarded(undo),
    "who": _guarded(who),
    "export": _guarded(export),
    "import": _guarded(import_file),
    "history": _guarded(history),
}


def _refuse_another_database(alias: str) -> None:
    if alias != (home := flags_alias()):
        raise UsageError(
            f"Flags are kept in the database '{home}', not in '{alias}'. Nothing was changed. "
            f"Name that one:\n    --database {home}"
        )


def _change(
    command: OpsCommand, options: Options, decide: Callable[[Rules], Rules | None]
) -> Outcome:
    """Change a flag to what `decide` makes of its rules."""
    name = options["name"]
    before, revision = stored_rules(name)
    if before is None:
        flag_overview(name)  # raises UnknownFlag
    rules = decide(before or Rules())
    change = change_flag(
        name,
        rules,
        expected_revision=revision,
        by=operator(),
        source=Source.CLI,
        reason=options["reason"],
    )
    if change is None:
        same = flag_list.spoken(rules.as_json() if rules else None)
        command.report(f"{name} already has these rules: {same}.")
        return 0, {"status": "nothing_to_do", "flag": name, "change": None}
    return _report_change(command, change)


def _report_change(command: OpsCommand, change: FlagChange) -> Outcome:
    old, new = map(flag_list.spoken, (change.old, change.new))
    command.report(f"{change.flag}: {old} -> {new}")
    command.report(f"Every process sees it within {conf.flags_poll_seconds:g} s.")
    if change.flag in forced_flags():
        command.report("It has no effect here: the environment forces the flag.")
    return 0, {"status": "ok", "flag": change.flag, "change": _entry(change)}


def _known_groups(names: list[str]) -> list[str]:
    if missing := set(names) - (group_names() if names else set()):
        raise UsageError(f"There is no group {min(missing)!r}. Nothing was changed.")
    return names


def _entry(change: FlagChange) -> Json:
    names = ("flag", "version", "at", "by", "source", "reason", "old", "new")
    entry = {name: getattr(change, name) for name in names}
    return entry | {"source": str(change.source)}
