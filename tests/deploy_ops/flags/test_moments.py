"""Local times that do not exist are refused; of those that come twice one has to be named."""

from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from deploy_ops.flags.admin.forms import RulesForm
from deploy_ops.flags.change import stored_rules
from deploy_ops.flags.moments import readings
from deploy_ops.flags.rules import Rules

BERLIN, CAIRO, LORD_HOWE = "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe"
SECOND_OF_TWO = datetime(2027, 10, 31, 1, 30, 15, tzinfo=UTC)  # 2:30 in Berlin, for the second time


@pytest.mark.parametrize(
    ("zone", "typed", "other"),
    [
        (BERLIN, "2027-03-28T02:30", "2027-03-28T03:30+02:00"),
        (BERLIN, "2027-03-28T02:00", "2027-03-28T03:00+02:00"),
        (CAIRO, "2027-04-30", "2027-04-30T01:00+03:00"),  # midnight is skipped
        (LORD_HOWE, "2027-10-03T02:10", "2027-10-03T02:40+11:00"),  # by half an hour
    ],
)
def test_time_that_does_not_exist_is_refused_with_one_that_does(db, zone, typed, other):
    with timezone.override(zone), pytest.raises(CommandError, match="does not exist") as refused:
        call_command("flags", "set", "dark_mode", "--until", typed)
    assert zone in str(refused.value) and f"such as {other}." in str(refused.value)
    assert stored_rules("dark_mode") == (None, 0)


def test_time_that_comes_twice_is_refused_and_either_can_be_named(db):
    with timezone.override(BERLIN):
        with pytest.raises(CommandError, match="comes twice in Europe/Berlin") as refused:
            call_command("flags", "set", "dark_mode", "--until", "2027-10-31T02:30")
        assert "2027-10-31T02:30+02:00 or 2027-10-31T02:30+01:00." in str(refused.value)
        call_command("flags", "set", "dark_mode", "--until", "2027-10-31T02:30+01:00")
    assert stored_rules("dark_mode")[0].ends_at == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("hour", [1, 3])
@pytest.mark.parametrize("day", ["2027-03-28", "2027-10-31"])
def test_times_around_a_change_of_the_clocks_mean_one_moment(hour, day):
    typed = datetime.fromisoformat(f"{day}T{hour:02}:00")
    with timezone.override(BERLIN):
        (moment,) = readings(typed)
    assert moment.replace(tzinfo=None) == typed


def form(rules=Rules(), **typed) -> RulesForm:
    data = {"revision": 0, "reason": "x"} | typed
    return RulesForm(data, rules=rules, revision=0, may_switch=True)


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize(
    ("typed", "message"),
    [("2027-03-28T02:30", "Diese Uhrzeit gibt es nicht"), ("2027-10-31T02:30", "zweimal")],
)
def test_form_says_which_of_the_two_it_is(db, settings, use_tz, typed, message):
    settings.USE_TZ = use_tz
    (said,) = form(starts_at=typed).errors["starts_at"]
    assert message in said and "Europe/Berlin" in said


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("typed", ["0001-01-01T00:00", "9999-12-31T23:59"])
def test_first_and_last_hours_are_refused(db, settings, use_tz, typed):
    settings.USE_TZ = use_tz
    zone = "Europe/Berlin" if typed < "1" else "America/New_York"
    with timezone.override(zone):
        assert form(starts_at=typed).errors["starts_at"]
        with pytest.raises(CommandError, match="out of the range of years"):
            call_command("flags", "set", "dark_mode", "--from", typed)


def test_form_keeps_a_stored_moment_that_it_cannot_name(db):
    rules = Rules(starts_at=SECOND_OF_TWO, staff=True)
    shown = form(rules, starts_at="2027-10-31T02:30", superusers="on")
    assert shown.is_valid(), shown.errors
    assert shown.rules.starts_at == SECOND_OF_TWO
