"""Ids sort in the order of their making, whatever the clock does."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from deploy_ops.errors import UsageError
from deploy_ops.ids import is_beginning, is_id, new_id, only_one, shortened

THEN = datetime(2026, 1, 31, 2, tzinfo=UTC)


def test_an_id_has_its_time_in_utc():
    summer = datetime(2026, 3, 29, 3, 30, 0, 500_000, tzinfo=timezone(timedelta(hours=2)))
    assert new_id(summer).startswith("20260329T013000Z-7a120")
    assert is_id(new_id(summer))


def test_ids_of_one_second_sort_in_the_order_of_their_making():
    made = [new_id(THEN + timedelta(microseconds=each)) for each in (0, 1, 9, 10, 999_999)]
    assert made == sorted(made)


def test_two_hosts_have_different_ids_for_the_same_moment():
    assert len({new_id(THEN) for _ in range(50)}) > 40


@pytest.mark.parametrize(
    "before",
    [
        new_id(THEN),
        new_id(THEN + timedelta(hours=1)),
        new_id(THEN.replace(microsecond=999_999)),
        "20260131T020000Z-ffffffff",  # of when all of it was random
        "20271231T235959Z-00000000",
    ],
    ids=["the same moment", "clock set back", "end of a second", "old form", "old, in the future"],
)
def test_an_id_sorts_behind_the_one_before_it_whatever_the_clock_says(before):
    after = new_id(THEN, after=before)
    assert is_id(after) and before < after < new_id(THEN + timedelta(days=999))


@pytest.mark.parametrize(
    "text", ["", "x", "20269931T020000Z-00000000", "99991231T235959Z-ffffffff"]
)
def test_what_no_clock_has_said_is_not_reckoned_with(text):
    assert new_id(THEN, after=text).startswith("20260131T020000Z-00000")


@pytest.mark.parametrize(
    "text", ["..", "a/b", "20260131T020000Z-0123abcd/", "", "٢٠٢٦0131T020000Z-0123abcd"]
)
def test_what_has_another_form_is_no_id(text):
    assert not is_id(text)


ALONE, TWIN, OTHER = "20260131T020000Z-0123abcd", "20260201T020000Z-0123abcd", "20260201T020000Z-1"
TWINS = [ALONE, TWIN, f"{OTHER}0000000"]


def test_an_id_is_short_where_its_second_is_its_own():
    odd = "20260131T020000Z.old"
    assert list(shortened(TWINS).values()) == [ALONE[:16], *TWINS[1:]]
    assert shortened([ALONE, odd]) == {ALONE: ALONE, odd: odd}


@pytest.mark.parametrize("text", ["20260131", "20260131T02", ALONE[:16], f"{ALONE[:16]}-012"])
def test_the_beginning_of_one_id_names_it(text):
    assert is_beginning(text) and only_one(text, [*TWINS, "20260131T020000Z.old"]) == ALONE


def test_the_beginning_of_several_ids_is_refused_and_they_are_named():
    with pytest.raises(UsageError, match=f"of 2 ids: {TWINS[2]}, {TWINS[1]}. Nothing was changed"):
        only_one("20260201", TWINS)
    many = [f"20260201T020000Z-{number:08x}" for number in range(9)]
    with pytest.raises(UsageError, match="of 9 ids: .*00000004 and 4 older. "):
        only_one("20260201", many)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026013*", "20260131T02Z", ALONE, "latest", "../20260131"]
)
def test_the_beginning_of_no_id_names_none(text):
    assert not is_beginning(text)
