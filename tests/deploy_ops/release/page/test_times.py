"""Ages, durations and numbers as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops.templatetags.operations import ago, duration, grouped, word
from deploy_ops.times import moment


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0,0 s"),
        (0.44, "0,4 s"),
        (12, "12 s"),
        (59.7, "1 min"),
        (250, "4 min 10 s"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (7200, "2 h"),
    ],
)
def test_durations(value, text):
    assert duration(value) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        ({"seconds": 5}, "gerade eben"),
        ({"minutes": 5}, "vor 5 Min."),
        ({"hours": 47}, "vor 47 Std."),
        ({"days": 3}, "vor 3 Tagen"),
        ({"days": -1}, "in der Zukunft"),
    ],
)
@pytest.mark.parametrize("use_tz", [True, False])
def test_ages(settings, passed, text, use_tz):
    settings.USE_TZ = use_tz
    assert ago(datetime.now(UTC) - timedelta(**passed)) == text
    assert ago(datetime.now() - timedelta(**passed)) == text
    assert ago(None) == ""


def test_large_numbers_are_grouped_and_unknown_words_stay():
    assert grouped(3_000_000.4) == "3.000.000"
    assert word("1.2", "colour") == "1.2" and word("blue", "colour") == "blau"


def test_moments_without_a_zone_are_utc():
    assert moment("2026-01-31T02:00:00") == moment("2026-01-31T03:00:00+01:00")
