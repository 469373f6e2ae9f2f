"""How far backfills are."""

import pytest

from deploy_ops.release.page import backfills
from tests.deploy_ops.release.page import scene
from tests.deploy_ops.release.page.scene import NOW, before


def test_speed_and_time_left():
    (found,) = backfills.backfills([scene.backfill()], NOW).all
    assert found.percent == 42 and found.is_working
    assert found.speed == pytest.approx(1_260_000 / 178)
    assert found.left is not None and found.left.total_seconds() == pytest.approx(245.8, abs=0.1)


@pytest.mark.parametrize(
    ("changed", "percent", "is_silent"),
    [
        ({"rows_read": 2_999_999}, 99, False),
        ({"rows_read": 4_000_000}, 99, False),  # the total was an estimate
        ({"rows_total": 0, "rows_read": 0}, None, False),
        ({"updated_at": before(minutes=6)}, 42, True),
        ({"updated_at": before(minutes=6), "waits_for": "replication lag"}, 42, False),
        ({"paused_at": NOW, "updated_at": before(hours=1)}, 42, False),
        ({"done_at": NOW}, 100, False),
        ({"started_at": None, "updated_at": None}, 42, False),
    ],
)
def test_progress_claims_no_more_than_is_done(changed, percent, is_silent):
    (found,) = backfills.backfills([scene.backfill(**changed)], NOW).all
    assert (found.percent, found.is_silent) == (percent, is_silent)


def test_what_ended_long_ago_is_not_shown():
    done = scene.backfill(done_at=before(days=2))
    assert backfills.backfills([done], NOW).all == ()
