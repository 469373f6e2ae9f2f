"""For whom a flag is on: a value, the same for the environment, the database and the history.

A row, a form, a command and the history's JSON have the rules under the names of the fields here;
`Rules.of`, `as_values` and `as_json` are the ways between.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from django.utils import timezone

from deploy_ops.errors import InvalidRules

STEP = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Each rule is optional, and any one that applies switches the flag on.

    `everyone` False comes before all others, and the dates bound all of them: before `starts_at`
    and from `ends_at` the flag is off. Dates alone switch it on for everybody between them.
    Without any rule the declaration decides. `users` are primary keys as text, `groups` are names,
    `attributes` are pairs of a name and a value, `percentage` is from 0 to 100 in steps of 0.01.
    InvalidRules for what makes no sense.
    """

    everyone: bool | None = None
    percentage: Decimal | None = None
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    attributes: frozenset[tuple[str, str]] = frozenset()
    staff: bool = False
    superusers: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.percentage is not None:
            _check_percentage(self.percentage)
        for moment in (self.starts_at, self.ends_at):
            if moment is not None:
                _check_moment(moment)
        if self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            raise InvalidRules(
                f"The flag would end ({self.ends_at}) before it starts ({self.starts_at}). "
                "Nothing was changed."
            )

    @classmethod
    def of_percentage(cls, text: str) -> Self:
        """Rules for a share of the users, `5` or `0.25`; InvalidRules if it is no number."""
        return cls(percentage=parse_percentage(text))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The rules that are found under their names, as rows, forms and JSON have them.

        What is missing or None is unset. InvalidRules as for any other rules.
        """
        found = {field.name: given.get(field.name) for field in fields(cls)}
        return cls(
            **{
                name: _READ[name](value) if name in _READ else value
                for name, value in found.items()
                if value is not None
            }
        )

    def switched(self, is_on: bool) -> Self:
        """The same for everybody on or off; the others stay, so that a rollout can go on.

        Only dates go when it is switched on: they would keep it off on all other days.
        """
        if not is_on:
            return replace(self, everyone=False)
        return replace(self, everyone=True, starts_at=None, ends_at=None)

    @property
    def has_targets(self) -> bool:
        """Is anybody in particular named, so that everybody else is left out?"""
        return bool(
            self.percentage is not None
            or self.users
            or self.groups
            or self.attributes
            or self.staff
            or self.superusers
        )

    @property
    def by_attribute(self) -> dict[str, list[str]]:
        """The values of each attribute."""
        found: dict[str, list[str]] = {}
        for name, value in sorted(self.attributes):
            found.setdefault(name, []).append(value)
        return found

    @property
    def has_dates(self) -> bool:
        """Does the answer depend on the time?"""
        return self.starts_at is not None or self.ends_at is not None

    def missed_date(self) -> str:
        """The date that keeps the flag off now: `starts_at`, `ends_at`, or nothing."""
        now = datetime.now(UTC)
        if self.starts_at is not None and now < self.starts_at:
            return "starts_at"
        return "ends_at" if self.ends_at is not None and now >= self.ends_at else ""

    def as_values(self) -> dict[str, Any]:
        """All rules by their names, set or not, as a row and a form have them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        sets = {"users": sorted(self.users), "groups": sorted(self.groups)}
        return values | sets | {"attributes": self.by_attribute}

    def as_json(self) -> dict[str, Any]:
        """The rules that are set, in values that JSON has."""
        values = self.as_values()
        return {
            field.name: _as_json(values[field.name])
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


def parse_percentage(text: str) -> Decimal:
    """A percentage as people type it, with or without the sign; InvalidRules if it is none."""
    try:
        percentage = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        raise InvalidRules(f"{text!r} is not a percentage. Nothing was changed.") from None
    _check_percentage(percentage)
    return percentage


def _check_percentage(percentage: Decimal) -> None:
    is_valid = percentage.is_finite() and 0 <= percentage <= 100
    if not is_valid or percentage != percentage.quantize(STEP):
        raise InvalidRules(
            f"{percentage} is not a percentage from 0 to 100 in steps of 0.01. Nothing was changed."
        )


def _check_moment(moment: datetime) -> None:
    if timezone.is_naive(moment):
        raise InvalidRules(
            f"{moment} has no time zone. Nothing was changed. Add one: {moment}+00:00"
        )
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRules(
            f"{moment} is out of the range of years 1 to 9999. Nothing was changed."
        ) from None


def _moment(given: datetime | str) -> datetime:
    """With its time zone, which a project with USE_TZ = False neither stores nor asks for."""
    moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _pairs(given: Mapping[str, Iterable[str]]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, values in given.items() for value in values)


_READ: Mapping[str, Callable[[Any], Any]] = {
    "percentage": Decimal,
    "users": frozenset,
    "groups": frozenset,
    "attributes": _pairs,
    "starts_at": _moment,
    "ends_at": _moment,
}


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value.quantize(STEP)) if isinstance(value, Decimal) else value
