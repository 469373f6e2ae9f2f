"""What the checks come to."""

from deploy_ops.health.probe import Outcome as Checked
from deploy_ops.release.page import health
from deploy_ops.release.page.tone import Tone


def test_failing_checks_come_first():
    found = health.health({"a": Checked(), "z": Checked("no route"), "b": Checked()}, False)
    assert [name for name, _ in found.checks] == ["z", "a", "b"]
    assert (found.failing, found.tone) == (1, Tone.BAD)
    assert health.health({"a": Checked()}, True).tone is Tone.WARN
