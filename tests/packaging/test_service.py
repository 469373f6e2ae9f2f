"""The service as systemd and Docker start it, really started, and stopped as they stop it."""

import configparser
import json
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kvb.production import Production
from tests.project.runner import REPOSITORY

UNIT = REPOSITORY / "deploy" / "systemd" / "kvb-admin.service"
PAGE = REPOSITORY / "docs" / "howto" / "serve-with-gunicorn.md"
BIND = "127.0.0.1:8000"


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
        assert bind in line and Path(line[0]).name == "gunicorn"
        here = {line[0]: str(Path(sys.executable).with_name("gunicorn"))}
        here[bind] = f"127.0.0.1:{self.port}"
        self.argv = [here.get(word, word) for word in line]


def test_unit_starts_says_so_and_stops_in_time(service, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        notify = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Started(tmp_path, service["ExecStart"].split(), BIND, **notify) as server:
            assert b"READY=1" in listener.recv(4096)
            assert server.get("/health/").status == 200
            server.process.send_signal(signal.SIGTERM)  # KillMode=mixed: to the master alone
            assert server.process.wait(30) == 0, server.log()


def test_unit_leaves_time_to_drain_and_to_finish(service, monkeypatch):
    monkeypatch.delenv("DRAIN_SECONDS", raising=False)
    config = runpy.run_path(str(REPOSITORY / "kvb" / "app" / "gunicorn.conf.py"))
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > config["DRAIN_SECONDS"] + config["graceful_timeout"]
    grace = re.search(r"stop_grace_period: (\d+)s", PAGE.read_text(encoding="utf-8"))[1]
    assert grace == service["TimeoutStopSec"]


def test_container_starts_the_same(service, tmp_path):
    commands = re.findall(r"CMD (\[.*\])$", PAGE.read_text(encoding="utf-8"), re.M)
    health, serve = map(json.loads, commands)
    with Started(tmp_path, serve, "0.0.0.0:8000") as server:
        url = health[-1].replace(":8000", f":{server.port}")
        argv = [sys.executable, *health[1:-1], url]
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=server.env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, f"Healthy: {url}\n"), done.stderr
    unit = service["ExecStart"].split()
    assert unit[1:-1] == serve[1:-1]


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path):
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("NOT VERIFIED BY SYSTEMD: systemd-analyze is not here")
    copy = tmp_path / UNIT.name
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    copy.write_text(UNIT.read_text().replace("/srv/kvb-admin/.venv/bin/gunicorn", gunicorn))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    # It ends with 0 whatever it finds.
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
