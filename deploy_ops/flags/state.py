"""The state of all flags as one immutable value, and what it means for one person. No database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, Protocol

from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.rollout import BUCKETS, bucket_of
from deploy_ops.flags.rules import Rules


class Origin(StrEnum):
    """Where the state of a flag comes from; the first one that says anything wins."""

    OVERRIDE = "override"
    ENVIRONMENT = "environment"
    DATABASE = "database"
    DEFAULT = "default"


class Evaluation(NamedTuple):
    """Is the flag on, and why: `environment`, `database:percentage`, `default` and so on."""

    enabled: bool
    reason: str


class Person(Protocol):
    """What rules ask about somebody; asked only for what a rule needs."""

    @property
    def user_id(self) -> str | None:
        """Primary key as text; None for somebody who is not logged in."""

    @property
    def identity(self) -> str | None:
        """What a percentage is decided by: the user's id, else the id in the visitor's cookie."""

    @property
    def groups(self) -> frozenset[str]:
        """Names of the user's groups."""

    def attribute(self, name: str) -> frozenset[str]:
        """The values of a declared attribute, such as their country."""

    @property
    def is_staff(self) -> bool:
        """May the user enter the admin?"""

    @property
    def is_superuser(self) -> bool:
        """Has the user all permissions?"""


@dataclass(frozen=True, slots=True)
class State:
    """The state of one flag in this process.

    `fixed` is set if it is the same for everybody, `has_share_alone` if a percentage is the only
    rule; both are worked out once, since they are asked for on every page.
    """

    name: str
    origin: Origin
    rules: Rules
    default: bool
    threshold: int | None = field(init=False)
    fixed: Evaluation | None = field(init=False)
    has_share_alone: bool = field(init=False)
    _in_share: Evaluation = field(init=False)
    _out_of_share: Evaluation = field(init=False)

    def __post_init__(self) -> None:
        share = self.rules.percentage
        derived: dict[str, object] = {
            "threshold": None if share is None else int(share * BUCKETS / 100),
            "has_share_alone": share is not None and self.rules == Rules(percentage=share),
            "_in_share": because(True, self.origin, "percentage"),
            "_out_of_share": because(False, self.origin, "percentage"),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "fixed", self._constant_answer())

    def evaluate(self, person: Person) -> Evaluation:
        """The answer for somebody, now."""
        if self.fixed:
            return self.fixed
        return self._draw(person) if self.has_share_alone else self._decide(person)

    def _constant_answer(self) -> Evaluation | None:
        """The answer that holds for everybody at all times, if there is one."""
        rules = self.rules
        if rules.everyone is False:
            return because(False, self.origin, "everyone")
        if rules.has_dates:
            return None
        if rules.everyone:
            return because(True, self.origin, "everyone")
        if self.threshold == BUCKETS:
            return self._in_share
        if self.threshold == 0 and self.has_share_alone:
            return self._out_of_share
        return None if rules.has_targets else because(self.default, Origin.DEFAULT)

    def _decide(self, person: Person) -> Evaluation:
        rules = self.rules
        if missed := rules.missed_date():
            return because(False, self.origin, missed)
        if rules.everyone or not rules.has_targets:
            return because(True, self.origin, "everyone" if rules.everyone else "dates")
        if rule := self._matching_rule(person):
            return because(True, self.origin, rule)
        return self._deal(person)

    def _matching_rule(self, person: Person) -> str:
        rules = self.rules
        if rules.superusers and person.is_superuser:
            return "superusers"
        if rules.staff and person.is_staff:
            return "staff"
        if rules.users and person.user_id in rules.users:
            return "users"
        if rules.groups and not rules.groups.isdisjoint(person.groups):
            return "groups"
        is_match = any(value in person.attribute(name) for name, value in rules.attributes)
        return "attributes" if is_match else ""

    def _deal(self, person: Person) -> Evaluation:
        """What is left of the rules: the percentage; nobody is asked for an id at 0 and 100."""
        if self.threshold is None:
            return because(False, self.origin, "no_match")
        if self.threshold in (0, BUCKETS):
            return self._in_share if self.threshold else self._out_of_share
        return self._draw(person)

    def _draw(self, person: Person) -> Evaluation:
        """The first buckets are in, so that a higher percentage only adds; off without an id."""
        assert self.threshold is not None
        if (identity := person.identity) is None:
            return because(False, self.origin, "no_id")
        is_in = bucket_of(self.name, identity) < self.threshold
        return self._in_share if is_in else self._out_of_share


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The states of all declared flags at one moment.

    `version` is that of the database; None if the database did not take part.
    """

    states: Mapping[str, State]
    version: object = None


@cache
def because(enabled: bool, origin: Origin, rule: str = "") -> Evaluation:
    """An answer with its reason; the environment's on and off, and the default, have no rule."""
    is_plain = not rule or (origin is Origin.ENVIRONMENT and rule == "everyone")
    return Evaluation(enabled, str(origin) if is_plain else f"{origin}:{rule}")


def take_snapshot(
    declared: Mapping[str, Flag],
    forced: Mapping[str, Rules],
    rows: Mapping[str, Rules],
    version: object = None,
) -> Snapshot:
    """Put together what environment, database and declarations say; rows of others are left out."""
    states = {name: _state(name, flag, forced, rows) for name, flag in declared.items()}
    return Snapshot(MappingProxyType(states), version)


def _state(name: str, flag: Flag, forced: Mapping[str, Rules], rows: Mapping[str, Rules]) -> State:
    if name in forced:
        return State(name, Origin.ENVIRONMENT, forced[name], flag.default)
    if name in rows:
        return State(name, Origin.DATABASE, rows[name], flag.default)
    return State(name, Origin.DEFAULT, Rules(), flag.default)
