"""What the pages say about a flag, as values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from deploy_ops.errors import UnknownFlag
from deploy_ops.flags.accounts import names_of_users
from deploy_ops.flags.admin import texts
from deploy_ops.flags.overview import FlagOverview, flag_overview, flag_overviews
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.stored import flags_alias
from deploy_ops.models import FlagChange


@dataclass(frozen=True, slots=True)
class FlagRow:
    """One flag in words. `state` is also the class of its colour: on, off or some.

    `description` is in the reader's language where the project has it in its translations;
    `rollout` says what is stored, whether the environment sets it aside or not; `share` is the part
    of the people it is on for, in percent, None where no number says it (groups, or no effect).
    """

    flag: FlagOverview
    description: str
    state: str
    state_text: str
    source: str
    forced_by: str
    rollout: list[str]
    share: Decimal | None


@dataclass(frozen=True, slots=True)
class PastChange:
    """A change, and what it did to the rules: those taken away, those added, those that stayed."""

    change: FlagChange
    removed: list[str]
    added: list[str]
    kept: list[str]


def read_flag_rows() -> list[FlagRow]:
    """All flags: the declared ones, and after them the rows that no declaration has."""
    flags = flag_overviews()
    names = names_of_users(flag.rules for flag in flags if flag.rules)
    return [_row(flag, names) for flag in flags]


def read_flag_row(name: str) -> FlagRow | None:
    """The row of one flag; None for a name that is neither declared nor stored."""
    try:
        flag = flag_overview(name)
    except UnknownFlag:
        return None
    return _row(flag, names_of_users([flag.rules] if flag.rules else []))


def read_past(name: str) -> QuerySet[FlagChange]:
    """The history of a flag, newest first."""
    return FlagChange.objects.using(flags_alias()).filter(flag=name)


def describe_past(changes: Iterable[FlagChange]) -> list[PastChange]:
    """Each change with what it did, in words."""
    pairs = [(change, _rules(change.old), _rules(change.new)) for change in changes]
    names = names_of_users(rules for _, *both in pairs for rules in both if rules)
    return [
        _difference(change, texts.rules_texts(old, names), texts.rules_texts(new, names))
        for change, old, new in pairs
    ]


def _difference(change: FlagChange, old: list[str], new: list[str]) -> PastChange:
    return PastChange(
        change,
        removed=[text for text in old if text not in new],
        added=[text for text in new if text not in old],
        kept=[text for text in new if text in old],
    )


def _row(flag: FlagOverview, names: Mapping[str, str]) -> FlagRow:
    state = flag.state
    return FlagRow(
        flag=flag,
        description=texts.description_of(flag),
        state=texts.state_class(state) if state else "off",
        state_text=texts.state_text(state) if state else texts.without_effect(),
        source=texts.source_text(flag),
        forced_by=texts.forcing_variable(flag) if flag.is_forced else "",
        rollout=texts.rollout_texts(flag.rules, names) if flag.rules else [],
        share=texts.share_of(state) if state else None,
    )


def _rules(kept: Mapping[str, Any] | None) -> Rules | None:
    return None if kept is None else Rules.of(kept)
