"""The rules of all flags as one JSON document, and such a document as changes.

Users stand in it by name, not by primary key, so that it fits another database.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from deploy_ops.errors import InvalidRules, UnknownFlag
from deploy_ops.flags.accounts import find_users, group_names, names_of_users
from deploy_ops.flags.attributes import refuse_new_attributes
from deploy_ops.flags.change import NO_ROW, Source, change_flag
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.flags.moments import moment_in_zone
from deploy_ops.flags.rules import Rules, parse_percentage
from deploy_ops.flags.stored import flags_alias, read_rows, rules_of
from deploy_ops.models import FlagChange

FORMAT = "deploy_ops.flags/1"

# How a rule is written; numbers come as text (see `_parse`).
_KINDS: Mapping[str, type] = {
    "everyone": bool,
    "percentage": str,
    "users": list,
    "groups": list,
    "attributes": dict,
    "staff": bool,
    "superusers": bool,
    "starts_at": str,
    "ends_at": str,
}


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One flag whose rules a document changes; None stands for no rules: as declared."""

    name: str
    before: Rules | None
    after: Rules | None
    revision: int


def export_flags() -> dict[str, Any]:
    """The rules of every declared flag, null for one that is as declared."""
    rows = {name: rules_of(row) for name, row in read_rows(flags_alias()).items()}
    has_users = any(rules.users for rules in rows.values())
    names = names_of_users(rows.values()) if has_users else {}
    flags = {name: _written(rows.get(name), names) for name in declared_flags()}
    return {"format": FORMAT, "flags": flags}


def plan_import(text: str) -> list[PlannedChange]:
    """What a document would change, flag by flag; those it does not name stay as they are.

    InvalidRules for what is no such document, or names users, groups or attributes that are not
    here; UnknownFlag for rules of flags that are not declared.
    """
    wanted = {name: _read(name, given) for name, given in _parse(text).items()}
    unknown = sorted(name for name in set(wanted) - set(declared_flags()) if wanted[name])
    if unknown:
        raise UnknownFlag(f"Not declared in DEPLOY_OPS_FLAGS: {', '.join(unknown)}. {_UNCHANGED}")
    rows = read_rows(flags_alias())
    planned = [
        PlannedChange(
            name=name,
            before=rules_of(rows[name]) if name in rows else None,
            after=rules,
            revision=rows[name].revision if name in rows else NO_ROW,
        )
        for name, rules in wanted.items()
        if name in declared_flags()
    ]
    for change in planned:
        refuse_new_attributes(change.after, change.before)
    return [change for change in planned if change.before != change.after]


def import_flags(planned: list[PlannedChange], *, by: str, reason: str) -> list[FlagChange]:
    """Carry out all of it or, on an error, nothing; FlagConflict if somebody was faster."""
    with transaction.atomic(using=flags_alias()):
        done = [
            change_flag(
                change.name,
                change.after,
                expected_revision=change.revision,
                by=by,
                source=Source.CLI,
                reason=reason,
            )
            for change in planned
        ]
    return [entry for entry in done if entry]


_UNCHANGED = "Nothing was changed."


def _written(rules: Rules | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    if rules is None:
        return None
    written = rules.as_json()
    if rules.users:
        written["users"] = sorted(names[key] for key in rules.users if key in names)
    return written


def _parse(text: str) -> dict[str, Any]:
    """The flags of a document; numbers as they are written, so that 0.1 stays 0.1."""
    try:
        document = json.loads(
            text, object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=str
        )
        _check_characters(document)
    except (ValueError, RecursionError) as error:
        raise InvalidRules(f"This is not JSON: {error}. {_UNCHANGED}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidRules(
            f'This is not an export of flags, which begins with "format": "{FORMAT}". {_UNCHANGED}'
        )
    flags = document.get("flags")
    if not isinstance(flags, dict):
        raise InvalidRules(f'The export has no object "flags". {_UNCHANGED}')
    return flags


def _check_characters(document: Any) -> None:
    """ValueError for escapes of what no database stores: half a character, and NUL."""
    text = json.dumps(document, ensure_ascii=False)
    text.encode()
    if r"\u0000" in text:
        raise ValueError("it has a NUL")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name stands twice, of which JSON's reader would take the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise InvalidRules(f"{twice!r} stands twice in one object. {_UNCHANGED}")
    return found


def _read(name: str, given: Any) -> Rules | None:
    """The rules of a flag, with the keys that its users have here."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise _invalid(name, "rules are an object, or null for a flag that is as declared")
    for rule, value in given.items():
        if rule not in _KINDS:
            raise _invalid(name, f"there is no rule {rule!r}. There are {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[rule]) or not _has_texts(value):
            raise _invalid(name, f"{rule} is {json.dumps(value)[:80]}, which it cannot be")
    try:
        return replace(Rules.of(given | _moments(given) | _percentage(given)), users=_keys(given))
    except (InvalidRules, ValueError) as error:
        raise _invalid(name, str(error).removesuffix(_UNCHANGED).strip().rstrip(".")) from None


def _has_texts(value: Any) -> bool:
    """Are the members of a list texts, and those of an object lists of texts?"""
    if isinstance(value, dict):
        return all(isinstance(each, list) and _has_texts(each) for each in value.values())
    return not isinstance(value, list) or all(isinstance(each, str) for each in value)


def _moments(given: Mapping[str, Any]) -> dict[str, datetime]:
    found = {
        rule: datetime.fromisoformat(given[rule])
        for rule in ("starts_at", "ends_at")
        if rule in given
    }
    return {
        rule: moment_in_zone(moment) if timezone.is_naive(moment) else moment
        for rule, moment in found.items()
    }


def _percentage(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"percentage": parse_percentage(given["percentage"])} if "percentage" in given else {}


def _keys(given: Mapping[str, Any]) -> frozenset[str]:
    """Primary keys of the users; InvalidRules for one, or a group, that is not here."""
    groups = given.get("groups", [])
    if missing := set(groups) - (group_names() if groups else set()):
        raise InvalidRules(f"there is no group {min(missing)!r} here")
    names = given.get("users", [])
    users = find_users(names) if names else {}
    if missing := set(names) - set(users):
        raise InvalidRules(f"there is no user {min(missing)!r} here")
    return frozenset(str(user.pk) for user in users.values())


def _invalid(name: str, fault: str) -> InvalidRules:
    return InvalidRules(f"The rules of {name} cannot be read: {fault}. {_UNCHANGED}")
