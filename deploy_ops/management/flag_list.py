"""Flags as a table for people, and as JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from deploy_ops.flags.overview import FlagOverview
from deploy_ops.management.base import Json, spoken_age
from deploy_ops.management.tables import local_time
from deploy_ops.models import FlagChange

HEADINGS = ("FLAG", "STATE", "FROM", "OWNER", "CHANGED", "AGE", "BY", "NOTES")
CHANGE_HEADINGS = ("AT", "FLAG", "FROM", "TO", "BY", "SOURCE", "WHY")


def rows(flags: Sequence[FlagOverview], now: datetime) -> Iterator[Sequence[str]]:
    """The cells of each flag."""
    for flag in flags:
        last = flag.last_change
        yield (
            flag.name,
            state(flag),
            flag.source,
            flag.declaration.owner if flag.declaration else "",
            local_time(last.at) if last else "never",
            spoken_age(now - last.at) if last else "",
            last.by if last else "",
            _notes(flag),
        )


def change_rows(changes: Iterable[FlagChange]) -> Iterator[Sequence[str]]:
    """The cells of each entry of the history."""
    for change in changes:
        yield (
            local_time(change.at, "%Y-%m-%d %H:%M:%S"),
            change.flag,
            spoken(change.old),
            spoken(change.new),
            change.by,
            str(change.source),
            change.reason,
        )


def _notes(flag: FlagOverview) -> str:
    notes = {
        f"forced by {flag.variable}": flag.is_forced,
        "NOT DECLARED": flag.is_undeclared,
        f"TO BE REMOVED BY {_remove_by(flag)}": flag.is_overdue,
    }
    return ", ".join(note for note, applies in notes.items() if applies)


def state(flag: FlagOverview) -> str:
    """`on` or `off` for everybody, else the rules in words."""
    if flag.is_on is not None:
        return "on" if flag.is_on else "off"
    return spoken(flag.state.rules.as_json()) if flag.state else "off"


def _remove_by(flag: FlagOverview) -> Any:
    return flag.declaration.remove_by if flag.declaration else None


def facts(flag: FlagOverview) -> Json:
    """What a program reads of one."""
    declaration, last = flag.declaration, flag.last_change
    return {
        "name": flag.name,
        "description": declaration.description if declaration else "",
        "owner": declaration.owner if declaration else "",
        "remove_by": _remove_by(flag),
        "declared": declaration is not None,
        "stale": flag.is_stale,
        "state": state(flag),
        "source": flag.source,
        "forced_by": flag.variable if flag.is_forced else None,
        "default": declaration.default if declaration else None,
        "rules": flag.rules.as_json() if flag.rules else None,
        "first_changed_at": flag.first_changed_at,
        "changed_at": last.at if last else None,
        "changed_by": last.by if last else None,
    }


def spoken(rules: Json | None) -> str:
    """Rules in words: `5.00 %, groups pilots`, or `on (kept for later: 5.00 %)`."""
    if not rules:
        return "as declared"
    targets = {
        "percentage": f"{rules.get('percentage')} %",
        "users": f"users {', '.join(rules.get('users', ()))}",
        "groups": f"groups {', '.join(rules.get('groups', ()))}",
        "attributes": ", ".join(
            f"{name} {' or '.join(values)}" for name, values in rules.get("attributes", {}).items()
        ),
        "staff": "staff",
        "superusers": "superusers",
    }
    dates = {
        "starts_at": f"from {rules.get('starts_at')}",
        "ends_at": f"until {rules.get('ends_at')}",
    }
    target, bounds = _joined(targets, rules), _joined(dates, rules)
    if "everyone" in rules:
        kept = f"(kept for later: {target})" if target else ""
        target = " ".join(filter(None, ["on" if rules["everyone"] else "off", kept]))
    return ", ".join(filter(None, [target, bounds]))


def _joined(words: Mapping[str, str], rules: Json) -> str:
    return ", ".join(text for name, text in words.items() if name in rules)
