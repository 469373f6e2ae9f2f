"""Rule by rule: who gets the flag, and the reason that is given."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.rollout import bucket_of
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.state import take_snapshot

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)
HALF = Decimal(50)
NAME = "dark_mode"


@dataclass
class Someone:
    user_id: str | None = None
    identity: str | None = None
    groups: frozenset[str] = frozenset()
    is_staff: bool = False
    is_superuser: bool = False


INCLUDED = next(str(n) for n in range(99) if bucket_of(NAME, str(n)) < 5000)
EXCLUDED = next(str(n) for n in range(99) if bucket_of(NAME, str(n)) >= 5000)
STRANGER = Someone()
IN, OUT = Someone(INCLUDED, INCLUDED), Someone(EXCLUDED, EXCLUDED)
VISITOR = Someone(None, INCLUDED)


def evaluate(rules=None, person=STRANGER, *, default=False, forced=None):
    snapshot = take_snapshot(
        {NAME: Flag("x", default=default)},
        {NAME: forced} if forced else {},
        {NAME: rules} if rules else {},
    )
    return tuple(snapshot.states[NAME].evaluate(person))


@pytest.mark.parametrize("default", [True, False])
def test_without_rules_the_declaration_decides(default):
    assert evaluate(default=default) == (default, "default")
    assert evaluate(Rules(), default=default) == (default, "default")


def test_row_comes_before_the_declaration_and_the_environment_before_the_row():
    on, off = Rules(everyone=True), Rules(everyone=False)
    assert evaluate(off, default=True) == (False, "database:everyone")
    assert evaluate(on) == (True, "database:everyone")
    assert evaluate(on, forced=off) == (False, "environment")
    assert evaluate(off, forced=on) == (True, "environment")
    assert evaluate(on, OUT, forced=Rules(percentage=HALF)) == (False, "environment:percentage")


@pytest.mark.parametrize(
    ("rules", "person", "expected"),
    [
        ({"percentage": HALF}, IN, (True, "percentage")),
        ({"percentage": HALF}, OUT, (False, "percentage")),
        ({"percentage": HALF}, VISITOR, (True, "percentage")),
        ({"percentage": HALF}, STRANGER, (False, "no_id")),
        ({"percentage": Decimal(0)}, IN, (False, "percentage")),
        ({"percentage": Decimal(100)}, STRANGER, (True, "percentage")),
        ({"users": frozenset({INCLUDED})}, IN, (True, "users")),
        ({"users": frozenset({INCLUDED})}, VISITOR, (False, "no_match")),
        ({"users": frozenset({INCLUDED})}, OUT, (False, "no_match")),
        ({"groups": frozenset({"a"})}, Someone(groups=frozenset("ab")), (True, "groups")),
        ({"groups": frozenset({"c"})}, Someone(groups=frozenset("ab")), (False, "no_match")),
        ({"staff": True}, Someone(is_staff=True), (True, "staff")),
        ({"staff": True}, Someone(is_superuser=True), (False, "no_match")),
        ({"superusers": True}, Someone(is_superuser=True), (True, "superusers")),
        ({"superusers": True}, STRANGER, (False, "no_match")),
        ({"percentage": HALF, "users": frozenset({EXCLUDED})}, OUT, (True, "users")),
        ({"percentage": HALF, "staff": True}, OUT, (False, "percentage")),
        ({"everyone": False, "users": frozenset({INCLUDED})}, IN, (False, "everyone")),
        ({"everyone": True, "percentage": HALF}, OUT, (True, "everyone")),
    ],
)
def test_any_rule_that_applies_switches_on(rules, person, expected):
    is_on, reason = expected
    assert evaluate(Rules(**rules), person) == (is_on, f"database:{reason}")


@pytest.mark.parametrize("others", [{}, {"everyone": True}, {"percentage": Decimal(100)}])
def test_dates_bound_every_other_rule(others):
    assert evaluate(Rules(starts_at=TOMORROW, **others)) == (False, "database:starts_at")
    assert evaluate(Rules(ends_at=YESTERDAY, **others)) == (False, "database:ends_at")
    assert evaluate(Rules(starts_at=YESTERDAY, ends_at=TOMORROW, **others))[0]


def test_dates_alone_are_for_everybody_between_them():
    assert evaluate(Rules(starts_at=YESTERDAY)) == (True, "database:dates")
    assert evaluate(Rules(ends_at=TOMORROW)) == (True, "database:dates")


def test_dates_are_looked_at_when_asked_and_not_when_read():
    start = datetime.now(UTC) + timedelta(milliseconds=50)
    snapshot = take_snapshot({NAME: Flag("x")}, {}, {NAME: Rules(starts_at=start)})
    state = snapshot.states[NAME]
    assert not state.evaluate(STRANGER).enabled
    while datetime.now(UTC) < start:
        pass
    assert state.evaluate(STRANGER).enabled


def test_rows_of_flags_that_are_not_declared_are_left_out():
    assert take_snapshot({}, {}, {NAME: Rules(everyone=True)}).states == {}


def test_snapshot_cannot_be_changed():
    snapshot = take_snapshot({NAME: Flag("x")}, {}, {})
    with pytest.raises(TypeError):
        snapshot.states[NAME] = None
    with pytest.raises(AttributeError):
        snapshot.states[NAME].default = True
