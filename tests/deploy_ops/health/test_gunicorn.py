"""The shipped configuration in a real gunicorn: its logs, its end, its reload."""

import os
import re
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deploy_ops.health.serving import Server

ACCESS = re.compile(r'"(\S+ \S+) HTTP/1\.1" (\d+)')


@pytest.fixture
def serve(tmp_path, sqlite_database):
    sqlite_database.execute("CREATE TABLE trip (id integer)")

    def start(*options, **env):
        checks = '{"DEPLOY_OPS_READINESS_CHECKS": ["database", "cache"]}'
        env = {"SETTINGS_OVERRIDES": checks} | env
        return Server(tmp_path, sqlite_database.url, *options, **env)

    return start


def access_lines(server, count: int) -> set[tuple[str, str]]:
    """Request and status of all lines, once there are so many: gunicorn answers, then writes."""
    deadline = time.monotonic() + 10
    while len(found := ACCESS.findall(server.log())) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return set(found)


def test_polls_that_are_answered_well_leave_no_line_and_others_do(serve):
    with serve() as server:
        for path in ("/health", "/health/", "/health/db/", "/health/ready/"):
            assert server.get(path).status == 200
            assert server.get(path, "HEAD").status == 200
        (server.directory / "drain").touch()
        assert server.get("/health/ready/").status == 503
        assert server.get("/health/", "POST").status == 405
        assert server.get("/health/other/").status == 400  # the host is not allowed
        assert access_lines(server, 3) == {
            ("GET /health/ready/", "503"),
            ("POST /health/", "405"),
            ("GET /health/other/", "400"),
        }


@pytest.mark.parametrize("worker_class", ["gthread", "sync", "asgi"])
def test_answers_are_the_same_as_in_the_reference(serve, worker_class):
    with serve("--worker-class", worker_class) as server:
        live = server.get("/health/", Host="10.0.3.7")
        assert live.content == b'{"status": "ok", "version": "1.2.3"}'
        assert live.headers["Cache-Control"] == "no-store"
        assert live.headers["Content-Length"] == str(len(live.content))
        head = server.get("/health/", "HEAD")
        assert head.content == b"" and head.headers["Content-Length"] == str(len(live.content))
        assert server.get("/health/ready/").json() == {
            "status": "ok",
            "version": "1.2.3",
            "checks": {"database": "ok", "cache": "ok"},
        }
        assert server.get("/health/", "POST").headers["Allow"] == "GET, HEAD"


def test_stop_is_announced_before_it_happens(serve):
    with serve(DRAIN_SECONDS="2") as server:
        assert server.get("/health/ready/").status == 200
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        ready = [server.get("/health/ready/") for _ in range(8)]
        assert {answer.status for answer in ready} == {503}
        assert ready[0].json()["failing"] == ["draining"]
        assert server.get("/health/").status == 200  # it still serves
        assert server.process.wait(10) == 0


def test_second_signal_stops_at_once(serve):
    with serve(DRAIN_SECONDS="60") as server:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_what_gunicorn_refuses_by_itself_is_answered_and_logged(serve):
    with serve() as server, socket.create_connection(("127.0.0.1", server.port), 10) as sender:
        sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n")
        assert sender.recv(4096).startswith(b"HTTP/1.1 400 ")
        deadline = time.monotonic() + 10
        while '" 400 ' not in server.log():
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.05)


def test_upgrade_in_place_is_no_reason_to_send_anybody_away(serve):
    """After SIGUSR2 a second master listens on the same socket; the first one stops at once."""
    upgraded = serve(DRAIN_SECONDS="60")
    # It starts itself again by its path, and `python -m` has none that would do.
    upgraded.argv[:3] = [str(Path(sys.executable).with_name("gunicorn"))]
    with upgraded as server:
        server.process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 30
        while server.log().count("Booting worker") < 4:
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        statuses = set()
        while server.process.poll() is None:
            assert time.monotonic() < deadline, server.log()
            with suppress(OSError):  # accepted by a worker that was about to stop
                statuses.add(server.get("/health/ready/").status)
        assert statuses <= {200}
        assert server.get("/health/ready/").status == 200


def test_reload_is_no_stop(serve):
    with serve(DRAIN_SECONDS="2") as server:
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert server.get("/health/ready/").status == 200
            time.sleep(0.1)
        assert "Hang up" in server.log() or "hup" in server.log()


def test_no_control_socket_is_left_in_the_home_directory(serve):
    with serve() as server:
        assert not (server.directory / ".gunicorn").exists()
        assert os.listdir(server.directory) == ["gunicorn.log"]
