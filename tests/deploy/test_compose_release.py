"""deploy/compose/release with an engine that only notes what it is asked, and moves the real link."""

import fcntl
import json
import os
import shutil
import subprocess

import pytest

from tests.deploy.commands import parse_command
from tests.project.runner import REPOSITORY

ENGINE = """#!/usr/bin/env python3
import json, os, subprocess, sys
from pathlib import Path

here = Path(__file__).parent
argv = sys.argv[1:]
assert argv[:3] == ["compose", "--file", "docker-compose.prod.yml"], argv
with open(here / "asked.jsonl", "a") as file:
    print(json.dumps([os.environ["VERSION"], *argv[3:]]), file=file)
line = " ".join(argv[3:])
for words in (here / "failing").read_text().splitlines():
    if words in line:
        sys.exit(f"failed as told: {words}")
if "printenv" in argv:
    print((here / "app_version").read_text())
elif argv[3] == "exec" and "python" not in argv:  # a program of the container, on its volume
    own = [word.replace("/run/kvb-admin", str(here / "sockets")) for word in argv[6:]]
    sys.exit(subprocess.run(own, check=False).returncode)
"""


class Host:
    """A checkout with the script, an engine, and the volume of the sockets."""

    def __init__(self, directory):
        self.directory = directory
        self.script = directory / "deploy" / "compose" / "release"
        self.script.parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / "deploy" / "compose" / "release", self.script)
        self.bin = directory / "bin"
        self.bin.mkdir()
        (self.bin / "docker").write_text(ENGINE)
        (self.bin / "docker").chmod(0o755)
        (self.bin / "failing").write_text("")
        (self.bin / "app_version").write_text("1.2.3")
        (self.bin / "sockets").mkdir()
        self.point("web.sock")

    def point(self, target):
        link = self.bin / "sockets" / "current.sock"
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    @property
    def serving(self):
        return os.readlink(self.bin / "sockets" / "current.sock")

    def fail(self, words):
        (self.bin / "failing").write_text(words)

    def release(self, version="v1.2.3"):
        (self.bin / "asked.jsonl").unlink(missing_ok=True)
        env = {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        return subprocess.run(
            [self.script, version], env=env, cwd="/", capture_output=True, text=True, check=False
        )

    def asked(self):
        path = self.bin / "asked.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def started(self):
        return [each[-1] for each in self.asked() if each[1] == "up" and "--wait" in each]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_a_release_goes_by_web_next_and_ends_in_web(host):
    done = host.release()
    assert done.returncode == 0, done.stderr
    assert host.started() == ["web-next", "web"]
    assert host.serving == "web.sock"
    gets = [line for line in done.stdout.splitlines() if "gets the requests" in line]
    assert gets == ["web-next (v1.2.3) gets the requests.", "web (v1.2.3) gets the requests."]
    assert (host.directory / ".env").read_text() == "VERSION=v1.2.3\n"
    assert {each[0] for each in host.asked()} == {"v1.2.3"}


def test_what_ci_has_left_is_read(host):
    (host.directory / "ci-status.json").write_text("{}")
    assert host.release().returncode == 0
    (line,) = [" ".join(each) for each in host.asked() if "predeploy" in each]
    assert f"--volume {host.directory}/ci-status.json:/run/ci-status.json:ro migrate" in line
    assert line.endswith("--ci-status /run/ci-status.json")


def test_its_commands_are_there_and_in_this_order(host):
    host.release()
    commands = [parse_command(each) for each in host.asked() if "manage.py" in each]
    assert commands == ["predeploy", "health", "smoke_test", "health", "smoke_test", "postdeploy"]
    lines = [" ".join(each[1:]) for each in host.asked()]
    expand = lines.index("run --rm -T migrate")
    assert max(i for i, line in enumerate(lines) if "predeploy" in line) < expand
    assert expand < min(i for i, line in enumerate(lines) if "web-next" in line)


def test_a_version_with_its_digest_is_started_by_it(host):
    version = "v1.2.3@sha256:" + "0" * 64
    assert host.release(version).returncode == 0
    assert {each[0] for each in host.asked()} == {version}


@pytest.mark.parametrize(
    "words",
    ["up --detach --no-deps --wait --wait-timeout 120 web-next", "exec -T web-next python"],
    ids=["does not start", "is sick"],
)
def test_a_release_that_does_not_pass_gets_no_request(host, words):
    host.fail(words)
    done = host.release()
    assert done.returncode == 1
    assert "What served before serves." in done.stderr
    assert (host.serving, host.started()) == ("web.sock", ["web-next"])
    assert host.asked()[-1][1:] == ["rm", "--stop", "--force", "web-next"]
    assert not (host.directory / ".env").exists()


def test_an_image_of_another_version_gets_no_request(host):
    (host.bin / "app_version").write_text("1.2.2")
    assert host.release().returncode == 1
    assert host.serving == "web.sock"


@pytest.mark.parametrize("words", ["predeploy", "run --rm -T migrate", "run --rm -T static"])
def test_what_fails_before_a_start_starts_nothing(host, words):
    host.fail(words)
    assert host.release().returncode != 0
    assert (host.serving, host.started()) == ("web.sock", [])


def test_killed_between_the_two_switches_the_next_call_leaves_web_next_alone(host):
    host.fail("exec -T web python")
    assert "web-next serves v1.2.3" in host.release().stderr
    assert host.serving == "web-next.sock"
    host.fail("")
    done = host.release()
    assert done.returncode == 0, done.stderr
    assert (host.serving, host.started()) == ("web.sock", ["web"])


def test_other_values_of_the_env_file_stay(host):
    (host.directory / ".env").write_text("VERSION=v1.2.2\nCOMPOSE_PROJECT_NAME=kvb\n")
    host.release()
    assert (host.directory / ".env").read_text() == "COMPOSE_PROJECT_NAME=kvb\nVERSION=v1.2.3\n"


@pytest.mark.parametrize("version", ["", "latest", "1.2.3", "v1.2.3;id", "v1.2.3 --privileged"])
def test_only_a_version_is_one(host, version):
    done = host.release(version)
    assert (done.returncode, host.asked()) == (2, [])
    assert "Nothing was changed" in done.stderr


def test_one_at_a_time(host):
    descriptor = os.open(host.directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = host.release()
    finally:
        os.close(descriptor)
    assert (done.returncode, host.asked()) == (1, [])
    assert "Another release is at work" in done.stderr
