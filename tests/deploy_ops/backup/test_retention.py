"""What `prune` keeps, decided without a disk or a database."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops.backup.retention import Candidate, choose

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
NOTHING = {"last": 0, "daily": 0, "weekly": 0, "monthly": 0}


def taken(days_ago: float, name: str = "", *, is_verified=True, is_pinned=False) -> Candidate:
    moment = NOW - timedelta(days=days_ago)
    return Candidate(name or f"{moment:%m-%d %H:%M}", moment, is_verified, is_pinned)


def daily(number: int) -> list[Candidate]:
    return [taken(days) for days in range(number, 0, -1)]


def test_the_newest_ones_are_kept_as_last():
    choice = choose(daily(5), NOTHING | {"last": 2}, NOW)
    assert list(choice.keep) == ["03-29 12:00", "03-30 12:00"]
    assert choice.drop == ("03-26 12:00", "03-27 12:00", "03-28 12:00")


def test_one_is_kept_for_each_of_the_last_days_that_have_any():
    backups = [taken(9.2, "old day, early"), taken(9.1, "old day, late"), taken(0.1, "today")]
    choice = choose(backups, NOTHING | {"daily": 2}, NOW)
    assert choice.keep == {"old day, late": ("daily",), "today": ("last verified", "daily")}


def test_weeks_and_months_reach_further_back_than_days():
    choice = choose(daily(90), NOTHING | {"weekly": 2, "monthly": 3}, NOW)
    assert choice.keep == {
        "01-31 12:00": ("monthly",),
        "02-28 12:00": ("monthly",),
        "03-29 12:00": ("weekly",),
        "03-30 12:00": ("last verified", "weekly", "monthly"),
    }


def test_a_week_across_new_year_is_one_week():
    backups = [
        Candidate("Wednesday", datetime(2025, 12, 31, tzinfo=UTC), True, False),
        Candidate("Thursday", datetime(2026, 1, 1, tzinfo=UTC), True, False),
    ]
    assert list(choose(backups, NOTHING | {"weekly": 9}, NOW).keep) == ["Thursday"]


def test_the_last_verified_one_stays_even_if_nothing_is_to_be_kept():
    assert choose(daily(3), NOTHING, NOW).keep == {"03-30 12:00": ("last verified",)}


def test_an_unverified_one_neither_counts_nor_goes():
    backups = [taken(2, "good"), taken(1, "unproved", is_verified=False)]
    choice = choose(backups, NOTHING | {"last": 1}, NOW)
    assert choice.keep == {"good": ("last verified", "last"), "unproved": ("not verified",)}


def test_one_dated_in_the_future_neither_counts_nor_goes():
    backups = [taken(2, "good"), taken(-1, "clock was wrong")]
    choice = choose(backups, NOTHING | {"last": 1}, NOW)
    assert choice.keep["good"] == ("last verified", "last")
    assert choice.keep["clock was wrong"] == ("dated in the future",)


def test_pinned_and_referred_ones_stay():
    backups = [taken(9, "pinned", is_pinned=True), taken(8, "of a run"), taken(1, "newest")]
    choice = choose(backups, NOTHING, NOW, protected={"of a run"})
    assert choice.keep["pinned"] == ("pinned",)
    assert choice.keep["of a run"] == ("a run refers to it",)


def test_no_backups_no_choice():
    assert choose([], NOTHING, NOW).keep == {}


@pytest.mark.parametrize("seed", range(300))
def test_whatever_is_there_a_verified_backup_remains_and_nothing_exempt_is_dropped(seed):
    chance = random.Random(seed)
    backups = [
        taken(
            chance.uniform(-3, 400),
            f"b{number}",
            is_verified=chance.random() < 0.7,
            is_pinned=chance.random() < 0.1,
        )
        for number in range(chance.randrange(40))
    ]
    keep = {name: chance.randrange(5) for name in NOTHING}
    protected = {each.id for each in backups if chance.random() < 0.1}
    choice = choose(backups, keep, NOW, protected)
    dropped = set(choice.drop)
    assert dropped | choice.keep.keys() == {each.id for each in backups}
    assert not dropped & choice.keep.keys()
    sound = [each for each in backups if each.is_verified and each.taken_at <= NOW]
    newest = sound[-max(keep["last"], 1) :]
    assert all(each.id in choice.keep for each in newest)
    for each in backups:
        exempt = each.is_pinned or each.id in protected or not each.is_verified
        assert not (each.id in dropped and (exempt or each.taken_at > NOW + timedelta(hours=1)))


@pytest.mark.parametrize("seed", range(50))
def test_pruning_twice_drops_nothing_more(seed):
    chance = random.Random(seed)
    backups = [
        taken(days, f"b{number}")
        for number, days in enumerate(
            sorted((chance.uniform(0, 200) for _ in range(30)), reverse=True)
        )
    ]
    keep = {name: chance.randrange(6) for name in NOTHING}
    first = choose(backups, keep, NOW)
    left = [each for each in backups if each.id in first.keep]
    assert choose(left, keep, NOW).drop == ()
