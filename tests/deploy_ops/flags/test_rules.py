import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from deploy_ops.errors import InvalidRules
from deploy_ops.flags.admin.forms import RulesForm
from deploy_ops.flags.rules import Rules, parse_percentage
from deploy_ops.models import FlagState

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0", "100", "0.01", "99.99", "5", " 5 % ", "5.00"])
def test_percentage_is_read(text):
    assert parse_percentage(text) == Decimal(text.strip().rstrip("% "))


@pytest.mark.parametrize("text", ["-0.01", "100.01", "0.001", "NaN", "Infinity", "5,5", "x", ""])
def test_other_percentages_are_refused(text):
    with pytest.raises(InvalidRules, match="percentage"):
        parse_percentage(text)


def test_time_without_a_zone_is_refused():
    with pytest.raises(InvalidRules, match="no time zone"):
        Rules(starts_at=datetime(2027, 1, 31))


def test_end_before_the_start_is_refused():
    with pytest.raises(InvalidRules, match="would end"):
        Rules(starts_at=NOON, ends_at=NOON)


def test_json_has_only_what_is_set():
    assert Rules().as_json() == {}
    assert Rules(everyone=False).as_json() == {"everyone": False}
    rules = Rules(
        percentage=Decimal(5),
        users=frozenset({"7", "10"}),
        staff=True,
        starts_at=NOON.astimezone(timezone(timedelta(hours=1))),
    )
    assert rules.as_json() == {
        "percentage": "5.00",
        "users": ["10", "7"],
        "staff": True,
        "starts_at": "2027-01-31T12:00:00+00:00",
    }


EVERY_RULE = Rules(
    everyone=False,
    percentage=Decimal("0.25"),
    users=frozenset({"7"}),
    groups=frozenset({"pilots"}),
    staff=True,
    superusers=True,
    attributes=frozenset({("country", "DE"), ("country", "AT"), ("plan", "pro")}),
    starts_at=NOON,
    ends_at=NOON + timedelta(days=1),
)
NAMES = {field.name for field in fields(Rules)}


def test_rows_and_the_form_have_exactly_the_rules():
    columns = {column.attname for column in FlagState._meta.get_fields()}
    assert columns - {"name", "revision"} == NAMES
    fields_of_form = set(RulesForm.declared_fields) - {"revision", "reason"}
    assert fields_of_form | {"attributes"} == NAMES  # of which each declared one has a field


@pytest.mark.parametrize("rules", [Rules(), EVERY_RULE])
def test_rules_come_back_from_values_and_from_json(rules):
    assert set(rules.as_values()) == NAMES
    assert Rules.of(rules.as_values()) == rules
    assert Rules.of(json.loads(json.dumps(rules.as_json()))) == rules


def test_moments_of_a_project_without_time_zones_are_its_local_ones(settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    found = Rules.of({"starts_at": datetime(2027, 1, 31, 13)})
    assert found == Rules(starts_at=NOON)
