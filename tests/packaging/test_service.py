"""The service as systemd and Docker start it, really started, and stopped as they stop it."""

import configparser
import json
import re
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kvb.production import Production
from tests.project.runner import REPOSITORY

UNIT = REPOSITORY / "deploy" / "systemd" / "kvb-admin@.service"
PAGE = REPOSITORY / "docs" / "howto" / "serve-with-gunicorn.md"
COMMAND = re.compile(r"CMD (\[.*\])$", re.M)


@pytest.fixture(scope="module")
def service():
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


class Started(Production):
    """What a line of the unit or of the page starts, on a port of its own."""

    def __init__(self, directory: Path, line: list[str], bind: str, **env: str) -> None:
        super().__init__(directory, f"sqlite:///{directory / 'kvb.sqlite3'}", **env)
        assert bind in line
        here = {bind: f"127.0.0.1:{self.port}", "gunicorn": "gunicorn"}
        if Path(line[0]).name == "python":
            here[line[0]] = sys.executable
        else:
            here[line[0]] = str(Path(sys.executable).with_name("gunicorn"))
        self.argv = [here.get(word, word) for word in line]


def test_unit_starts_says_so_and_stops_in_time(service, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        notify = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        argv = service["ExecStart"].split()
        with Started(tmp_path, argv, argv[-1], **notify) as server:
            assert b"READY=1" in listener.recv(4096)
            assert server.get("/health/").status == 200
            server.process.send_signal(signal.SIGTERM)  # KillMode=mixed: to the master alone
            assert server.process.wait(30) == 0, server.log()


def test_unit_leaves_time_to_drain_and_to_finish(service, monkeypatch):
    monkeypatch.delenv("DRAIN_SECONDS", raising=False)
    config = runpy.run_path(str(REPOSITORY / "kvb" / "app" / "gunicorn.conf.py"))
    longest = config["DRAIN_SECONDS"] + config["graceful_timeout"]
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > longest
    grace = re.search(r"stop_grace_period: (\d+)s", PAGE.read_text(encoding="utf-8"))[1]
    assert int(grace) > longest


def test_container_starts_the_same(service, tmp_path):
    commands = COMMAND.findall((REPOSITORY / "Dockerfile").read_text(encoding="utf-8"))
    assert commands == COMMAND.findall(PAGE.read_text(encoding="utf-8"))
    health, serve = map(json.loads, commands)
    with Started(tmp_path, serve, "0.0.0.0:8000") as server:
        url = health[-1].replace(":8000", f":{server.port}")
        argv = [sys.executable, *health[1:-1], url]
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=server.env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, f"Healthy: {url}\n"), done.stderr
    unit = service["ExecStart"].split()
    assert unit[3:-1] == serve[1:-1]
