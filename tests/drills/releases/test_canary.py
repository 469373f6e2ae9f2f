"""A release beside the one that serves: for some visitors, always the same ones."""

import secrets
from collections import Counter

from tests.drills.releases.site import VIEWS
from tests.drills.releases.test_release import ERRORS
from tests.visitors import Visitors

CLIENTS = [secrets.token_hex(16) for _ in range(600)]


def shares(host):
    """Which version each client gets, asked once."""
    return {client: host.get(cookie=f"canary_id={client}")[1].split()[0] for client in CLIENTS}


def test_a_canary_grows_and_is_promoted(deployed):
    before = deployed.version()
    tag = deployed.next_release()
    new = tag.removeprefix("v")
    deployed.configure(watch_seconds="0")
    with Visitors(deployed.port, "/", {"Host": "127.0.0.1"}) as people:
        told = deployed.deploy("--canary", "5", tag).stdout
        assert f"{tag} gets 5 % of the visitors" in told
        first = shares(deployed)
        counts = Counter(first.values())
        assert set(counts) == {before, new}
        assert 0.023 < counts[new] / len(CLIENTS) < 0.077  # 3 standard deviations
        assert "canary, 5 %" in deployed.deploy("--status").stdout
        assert "There is a canary already" in deployed.deploy("--canary", "5", tag, check=1).stderr

        deployed.deploy("--share", "25")
        second = shares(deployed)
        assert 0.197 < Counter(second.values())[new] / len(CLIENTS) < 0.303
        assert all(second[client] == new for client in CLIENTS if first[client] == new)

        deployed.deploy("--promote")
        assert set(shares(deployed).values()) == {new}
    assert set(people.answers) == {("GET", 200), ("POST", 200)}
    assert len(deployed.running()) == 1


def test_a_canary_is_aborted_by_hand_and_by_its_errors(deployed):
    before, running = deployed.version(), deployed.running()
    deployed.configure(watch_seconds="0")
    deployed.deploy("--canary", "50", deployed.next_release())
    deployed.deploy("--abort")
    assert set(shares(deployed).values()) == {before}
    assert deployed.running() == running

    deployed.configure(watch_seconds="20")
    tag = deployed.next_release({"shop/views.py": ERRORS})
    cookie = {"Host": "127.0.0.1"}
    with Visitors(deployed.port, "/", cookie), Visitors(deployed.port, "/", always(deployed)):
        failed = deployed.deploy("--canary", "50", tag, check=3)
    assert "serves worse than the release before" in failed.stderr
    assert deployed.running() == running
    assert set(shares(deployed).values()) == {before}
    assert deployed.events()[-1] == ("canary", "failed", tag.removeprefix("v"))
    assert "There is no canary" in deployed.deploy("--promote", check=1).stderr


def always(host):
    """Headers of somebody who is among the first 50 %."""
    return {"Host": "127.0.0.1", "Cookie": f"canary_id={CLIENTS[0]}"}
