"""What restores left beside the live database."""

from datetime import UTC, datetime

from deploy_ops.release.page import kept
from deploy_ops.release.page.tone import Tone


def test_kept_databases_tell_why_and_since_when():
    names = ["/srv/kvb_before_restore_20260131T020000Z.sqlite3", "kvb_verify_20260131T030000Z_1"]
    found = kept.kept(names, ["/srv/media_restoring_20260131T020000Z", "/srv/other"])
    assert [(each.name, each.kind) for each in found.databases] == [
        ("kvb_before_restore_20260131T020000Z.sqlite3", "before_restore"),
        ("kvb_verify_20260131T030000Z_1", "verify"),
    ]
    assert found.databases[0].since == datetime(2026, 1, 31, 2, tzinfo=UTC)
    assert [each.kind for each in found.media] == ["restoring", ""]
    assert (found.number, found.tone) == (4, Tone.BUSY)
    assert kept.kept([], []).tone is Tone.QUIET
