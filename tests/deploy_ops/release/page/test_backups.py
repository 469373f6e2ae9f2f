"""What the catalog comes to."""

from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops.backup.entry import Entry, State
from deploy_ops.release.page import backups
from deploy_ops.release.page.tone import Tone
from tests.deploy_ops.release.page import scene
from tests.deploy_ops.release.page.scene import NOW


def test_newest_and_charts(state):
    scene.write_backups(state, 30)
    found = backups.read()
    assert (len(found.newest), len(found.history), found.number) == (1, 20, 30)
    assert found.sizes.most == found.newest[0].size_bytes
    assert found.tone is Tone.OK


def test_without_any_it_is_bad(state):
    assert (backups.read().tone, backups.read().newest) == (Tone.BAD, ())


def test_failed_verification_and_rubbish_are_told(state):
    scene.write_backups(state, 2)
    (state / "backups" / "rubbish").mkdir()
    found = backups.read()
    assert (list(found.unusable), found.tone) == (["rubbish"], Tone.WARN)
    entries = [Entry("x", State.CORRUPT, "secret: postgresql://u:geheim@h/d")]
    assert "geheim" not in backups.backups(entries, NOW).unusable["x"]


def test_of_many_that_cannot_be_used_the_newest_are_named():
    entries = [Entry(f"{number:03}", State.INCOMPLETE, "no manifest") for number in range(50)]
    found = backups.backups(entries, NOW)
    assert len(found.unusable) == 50
    assert [name for name, _ in found.named] == [f"{number:03}" for number in range(49, 39, -1)]


@pytest.mark.parametrize("days", [3, -1])
def test_old_one_and_one_of_the_future_want_a_look(state, days):
    scene.write_backups(state, 2)
    now = datetime.now(UTC) + timedelta(days=days)
    found = backups.backups(backups.list_entries(), now)
    assert (found.newest[0].is_old, found.tone) == (True, Tone.WARN)
