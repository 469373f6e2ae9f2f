"""deploy.sh is killed at each of its steps, under load: the next call ends well, and nobody notices.

KILLS=all kills at every step; else a few of them stand for the rest.
"""

import os

import pytest

from tests.drills.releases.host import wait_for
from tests.visitors import Visitors

PAUSE = "#!/bin/sh\nsleep 30\n"
STEPS = {
    # what is waited for: step of the record, hook that keeps the step open
    "building": (None, {}),
    "expand": ("expand", {}),
    "start": ("start", {}),
    "before the switch": ("switch", {"deploy/hooks/pre-switch": PAUSE}),
    "after the switch": ("smoke", {"deploy/hooks/post-switch": PAUSE}),
    "watch": ("watch", {}),
    "drain": ("drain", {}),
}
IN_CI = ("before the switch", "after the switch")
ALL = os.environ.get("KILLS") == "all"


@pytest.mark.parametrize("moment", STEPS if ALL else IN_CI)
def test_the_next_call_ends_well(deployed, moment):
    step, hooks = STEPS[moment]
    before = deployed.version()
    deployed.configure(watch_seconds="60" if moment == "watch" else "0")
    tag = deployed.next_release(hooks)
    with Visitors(deployed.port, "/", {"Host": "127.0.0.1"}) as people:
        killed = deployed.start(tag)
        if step is None:
            wait_for((deployed.root / "releases" / tag).exists)
        else:
            wait_for(lambda: deployed.step() == step)
        if moment == "after the switch":
            wait_for(lambda: deployed.version() == tag.removeprefix("v"))
        killed.kill()
        killed.wait()
        deployed.configure(watch_seconds="0")
        good = deployed.next_release()
        told = deployed.deploy(good).stdout
    assert deployed.version() == good.removeprefix("v")
    assert len(deployed.running()) == 1
    assert deployed.record() is None
    assert set(people.answers) == {("GET", 200), ("POST", 200)}
    served = {text.split()[0] for text in people.texts}
    if moment in ("after the switch", "watch", "drain"):
        assert f"A deployment of {tag} by anna was cut off" in told
        assert ("everything else was done" if moment == "drain" else "had got the requests") in told
        assert tag.removeprefix("v") in served
    else:
        assert served == {before, good.removeprefix("v")}
        if step:
            assert "before it got the requests" in told
            assert deployed.events()[-3] == ("deployment", "failed", tag.removeprefix("v"))


def begin_canary(host):
    host.configure(watch_seconds="60")
    return host.start("--canary", "5", host.next_release())


def change_share(host):
    host.deploy("--canary", "5", host.next_release())
    host.configure(watch_seconds="60")
    return host.start("--share", "50")


def promote(host):
    host.deploy("--canary", "5", host.next_release({"deploy/hooks/post-switch": PAUSE}))
    return host.start("--promote")


def roll_back(host):
    host.deploy(host.next_release({"deploy/hooks/post-rollback": PAUSE}))
    host.deploy(host.next_release())
    return host.start("--rollback")


OTHERS = {  # the step, and whether the release had got everybody's requests when it was killed
    "share of a new canary": (begin_canary, "share", False),
    "share that changes": (change_share, "share", False),
    "promotion": (promote, "smoke", True),
    "rollback before its switch": (roll_back, "start", False),
    "rollback after its switch": (roll_back, "hooks", True),
}


@pytest.mark.parametrize("moment", OTHERS if ALL else ["promotion"])
def test_so_it_does_after_a_canary_and_a_way_back(deployed, moment):
    begin, step, had_requests = OTHERS[moment]
    deployed.configure(watch_seconds="0")
    with Visitors(deployed.port, "/", {"Host": "127.0.0.1"}) as people:
        killed = begin(deployed)
        wait_for(lambda: deployed.step() == step)
        killed.kill()
        killed.wait()
        deployed.configure(watch_seconds="0")
        good = deployed.next_release()
        told = deployed.deploy(good).stdout
    words = "after it had got the requests" if had_requests else "before it got the requests"
    assert words in told and f"by anna was cut off at {step!r}" in told
    assert deployed.version() == good.removeprefix("v")
    assert len(deployed.running()) == 1
    assert deployed.record() is None
    assert set(people.answers) == {("GET", 200), ("POST", 200)}
