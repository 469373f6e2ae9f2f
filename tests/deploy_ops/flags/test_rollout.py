"""Statistics over fixed ids: the same numbers in every run."""

import pytest

from deploy_ops.flags.rollout import BUCKETS, bucket_of

IDS = [str(number) for number in range(20_000)]


def included(flag: str, threshold: int) -> set[str]:
    return {identity for identity in IDS if bucket_of(flag, identity) < threshold}


def test_buckets_never_change():
    """If this fails, every rollout of every user of the package is dealt anew."""
    found = [bucket_of("csv_export", identity) for identity in ("1", "2", "anna")]
    assert found == [6378, 7345, 3359]


@pytest.mark.parametrize("percent", [1, 5, 50, 95])
def test_share_is_about_what_was_asked_for(percent):
    share = 100 * len(included("dark_mode", percent * 100)) / len(IDS)
    assert share == pytest.approx(percent, abs=0.7)


def test_raising_the_percentage_only_adds():
    steps = [included("dark_mode", threshold) for threshold in (0, 1, 10, 500, 5000, BUCKETS)]
    assert all(fewer <= more for fewer, more in zip(steps, steps[1:]))
    assert not steps[0] and len(steps[-1]) == len(IDS)


def test_flags_of_similar_names_choose_independently():
    both = included("new_search", 500) & included("new_search2", 500)
    assert len(both) / len(IDS) == pytest.approx(0.0025, abs=0.001)
