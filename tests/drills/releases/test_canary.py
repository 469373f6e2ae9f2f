"""A release beside the one that serves: for some visitors, always the same ones."""

import secrets
from collections import Counter

from tests.drills.releases.host import wait_for
from tests.drills.releases.site import VIEWS
from tests.drills.releases.test_release import ERRORS
from tests.visitors import Visitors

# nginx hashes the cookie that is not there to 0, which is on the first of all levels.
ON_CANARY = {"Host": "127.0.0.1"}
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
        told = deployed.as_typed("--canary 5 TAG", tag).stdout
        assert f"{tag} gets 5 % of the visitors" in told
        first = shares(deployed)
        counts = Counter(first.values())
        assert set(counts) == {before, new}
        assert 0.023 < counts[new] / len(CLIENTS) < 0.077  # 3 standard deviations
        assert "canary, 5 %" in deployed.as_typed("--status").stdout
        assert "There is a canary already" in deployed.deploy("--canary", "5", tag, check=1).stderr

        deployed.as_typed("--share 25")
        second = shares(deployed)
        assert 0.197 < Counter(second.values())[new] / len(CLIENTS) < 0.303
        assert all(second[client] == new for client in CLIENTS if first[client] == new)

        deployed.as_typed("--promote")
        assert set(shares(deployed).values()) == {new}
    assert set(people.answers) == {("GET", 200), ("POST", 200)}
    assert len(deployed.running()) == 1


def test_a_canary_is_aborted_by_hand_and_by_its_errors(deployed):
    before, running = deployed.version(), deployed.running()
    deployed.configure(watch_seconds="0")
    deployed.deploy("--canary", "50", deployed.next_release())
    deployed.as_typed("--abort")
    assert set(shares(deployed).values()) == {before}
    assert deployed.running() == running

    deployed.configure(watch_seconds="20")
    tag = deployed.next_release({"shop/views.py": ERRORS})
    with Visitors(deployed.port, "/", ON_CANARY):
        failed = deployed.deploy("--canary", "50", tag, check=3)
    assert "serves worse than the release before" in failed.stderr
    assert deployed.running() == running
    assert set(shares(deployed).values()) == {before}
    assert deployed.events()[-1] == ("canary", "failed", tag.removeprefix("v"))
    assert "There is no canary" in deployed.deploy("--promote", check=1).stderr


SLOW_LATER = VIEWS.replace("import os\n", "import os\nimport time\n").replace(
    "def page(request):\n",
    "def page(request):\n" "    if os.path.exists('slow'):\n" "        time.sleep(0.4)\n",
)


def test_a_canary_that_gets_slow_later_is_ended_by_who_watches(deployed):
    """By the time that 95 of 100 requests take; nobody holds the lock meanwhile."""
    before, running = deployed.version(), deployed.running()
    deployed.configure(watch_seconds="3")
    assert "There is no canary" in deployed.deploy("--watch", check=1).stderr
    tag = deployed.next_release({"shop/views.py": SLOW_LATER})
    with Visitors(deployed.port, "/", ON_CANARY):
        deployed.deploy("--canary", "50", tag)
        others = [client for client, version in shares(deployed).items() if version == before]
        with Visitors(deployed.port, "/", ON_CANARY | {"Cookie": f"canary_id={others[0]}"}):
            watching = deployed.start("--watch")
            wait_for(lambda: f"Watching {tag}" in (deployed.directory / "deploy.log").read_text())
            deployed.deploy("--share", "25")
            assert watching.poll() is None and len(deployed.running()) == 2
            (deployed.root / "releases" / tag / "slow").touch()
            assert watching.wait(60) == 3
    assert deployed.running() == running
    assert set(shares(deployed).values()) == {before}
    assert deployed.events()[-1] == ("canary", "failed", tag.removeprefix("v"))
    log = (deployed.directory / "deploy.log").read_text()
    assert "95 of 100 requests end within" in log and f"v{before} serves." in log


def test_whoever_watches_ends_with_the_canary(deployed):
    deployed.configure(watch_seconds="1")
    tag = deployed.next_release()
    deployed.deploy("--canary", "50", tag)
    watching = deployed.start("--watch")
    wait_for(lambda: f"Watching {tag}" in (deployed.directory / "deploy.log").read_text())
    deployed.deploy("--promote")
    assert watching.wait(60) == 0
