from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from deploy_ops.errors import RulesRefused
from deploy_ops.flags.rules import Rules, parse_percentage

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0", "100", "0.01", "99.99", "5", " 5 % ", "5.00"])
def test_percentage_is_read(text):
    assert parse_percentage(text) == Decimal(text.strip().rstrip("% "))


@pytest.mark.parametrize("text", ["-0.01", "100.01", "0.001", "NaN", "Infinity", "5,5", "x", ""])
def test_other_percentages_are_refused(text):
    with pytest.raises(RulesRefused, match="percentage"):
        parse_percentage(text)


def test_time_without_a_zone_is_refused():
    with pytest.raises(RulesRefused, match="no time zone"):
        Rules(starts_at=datetime(2027, 1, 31))


def test_end_before_the_start_is_refused():
    with pytest.raises(RulesRefused, match="would end"):
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
