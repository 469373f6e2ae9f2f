"""What `deploy.sh --status` says, and what it says of what it may not see."""

import os

import pytest

from deploy_ops.release.host.colours import CURRENT, Colour, place
from deploy_ops.release.host.releases import COMPLETE
from deploy_ops.release.host.status import status
from deploy_ops.release.host.story import locked


@pytest.fixture
def serving(host):
    for name in ("v1.0.0", "v1.1.0"):
        (host.releases / name).mkdir(parents=True)
    (host.releases / "v1.0.0" / COMPLETE).write_text('{"tag": "v1.0.0", "commit": "0"}')
    place(host, Colour.BLUE, "v1.0.0")
    (host.sockets / CURRENT).symlink_to("blue.sock")
    return host


def test_what_there_is_and_who_is_at_work(serving):
    blue, green, *built = status(serving).splitlines()
    assert blue.split()[:3] == ["blue", "v1.0.0", "serves"] and "no answer" in blue
    assert green.split()[:2] == ["green", "nothing"]
    assert [line.split()[:2] for line in built] == [["v1.1.0", "incomplete:"], ["v1.0.0", "built"]]
    with locked(serving, "deploy.sh v1.1.0", 0):
        said = status(serving).splitlines()[-1]
    assert said.startswith(f"At work: deploy.sh v1.1.0 (process {os.getpid()} on ")
    assert " since 20" in said


def test_who_may_not_look_is_told(serving, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: path != serving.state)
    said = status(serving).splitlines()[-1]
    assert said.startswith(f"{serving.state} is closed to this user") and "not known" in said
