"""Rules and states in the reader's words."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deploy_ops.flags.overview import FlagOverview
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.state import Origin, State


def description_of(flag: FlagOverview) -> str:
    """What the flag switches; settings can't translate it themselves, so it is done here."""
    return _(flag.declaration.description) if flag.declaration else ""


def state_class(state: State) -> str:
    """`on`, `off`, or `some` for a flag that is on for a part of the people."""
    if state.fixed is not None:
        return "on" if state.fixed.enabled else "off"
    rules = state.rules
    if rules.missed_date():
        return "off"
    return "on" if rules.everyone or not rules.has_targets else "some"


def state_text(state: State) -> str:
    """On, off, or for how many."""
    kind, percentage = state_class(state), state.rules.percentage
    if kind != "some":
        return _("On") if kind == "on" else _("Off")
    return percent_text(percentage) if percentage is not None else _("On for some")


def share_of(state: State) -> Decimal | None:
    """For which part of the people it is on, in percent; None where no number says it."""
    fixed = {"on": Decimal(100), "off": Decimal(0)}
    return fixed.get(state_class(state), state.rules.percentage)


def without_effect() -> str:
    """The state of a row that nothing reads."""
    return _("Without effect")


def source_text(flag: FlagOverview) -> str:
    """Where the state comes from."""
    match flag.source:
        case Origin.ENVIRONMENT:
            return _("forced by the environment: %s") % forcing_variable(flag)
        case Origin.DATABASE:
            return _("set in the database")
        case Origin.DEFAULT:
            return _("as declared")
    return _("not declared")


def forcing_variable(flag: FlagOverview) -> str:
    """The environment variable as one writes it, with its value."""
    return f"{flag.variable}={os.environ.get(flag.variable, '').strip()}"


def rollout_texts(rules: Rules, names: Mapping[str, str]) -> list[str]:
    """The rules, one text each; `names` are those of the users by primary key."""
    targets = [*_target_texts(rules, names)]
    if rules.everyone is None:
        return targets + [*_date_texts(rules)]
    everyone = _("on for everyone") if rules.everyone else _("off for everyone")
    kept = [_("kept for later: %s") % ", ".join(targets)] if targets else []
    return [everyone, *_date_texts(rules), *kept]


def rules_texts(rules: Rules | None, names: Mapping[str, str]) -> list[str]:
    """The rules, one text each; without any the declaration decides."""
    return (rollout_texts(rules, names) if rules else []) or [_("as declared")]


def rules_text(rules: Rules | None, names: Mapping[str, str]) -> str:
    """The same in one line."""
    return ", ".join(rules_texts(rules, names))


def percent_text(percentage: Decimal) -> str:
    """5 % without needless zeros, 0,25 % where a comma is the decimal sign."""
    plain = percentage.quantize(Decimal(1)) if percentage % 1 == 0 else percentage.normalize()
    return f"{number_format(plain)} %"


def _target_texts(rules: Rules, names: Mapping[str, str]) -> Iterable[str]:
    if rules.percentage is not None:
        yield _("%s of users") % percent_text(rules.percentage)
    if rules.groups:
        yield _("groups: %s") % ", ".join(sorted(rules.groups))
    for name, values in rules.by_attribute.items():
        yield f"{name}: {', '.join(values)}"
    if rules.users:
        yield _users_text(rules.users, names)
    if rules.staff:
        yield _("staff")
    if rules.superusers:
        yield _("superusers")


def _users_text(users: frozenset[str], names: Mapping[str, str]) -> str:
    named = sorted(names[key] for key in users if key in names)
    if named and len(named) <= 5:
        return _("users: %s") % ", ".join(named)
    return ngettext("%d user", "%d users", len(users)) % len(users)


def _date_texts(rules: Rules) -> Iterable[str]:
    if rules.starts_at:
        yield _("from %s") % _moment(rules.starts_at)
    if rules.ends_at:
        yield _("until %s") % _moment(rules.ends_at)


def _moment(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "SHORT_DATETIME_FORMAT")
