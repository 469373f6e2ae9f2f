"""Requests held by a hold file: in real gunicorn of every kind, and at the gate itself."""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from deploy_ops.errors import ConfigurationError, LockHeld
from deploy_ops.health.hold import Gate, gate_of_this_process, passing
from deploy_ops.health.middleware import HealthMiddleware
from deploy_ops.hold_file import HoldFile
from tests.deploy_ops.health.serving import Server
from tests.project.runner import REPOSITORY

MOMENT = timedelta(seconds=0.05)
HOLDER = """
import sys, time
from pathlib import Path
from deploy_ops.hold_file import HoldFile
with HoldFile(Path(sys.argv[1])).held("test"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def file(tmp_path):
    return HoldFile(tmp_path / "run" / "hold")


@pytest.fixture
def gate(file):
    return Gate(file, 20)


def entered(gate) -> threading.Event:
    """Set once a request of another thread is in; it stays there."""
    event = threading.Event()

    def enter():
        gate.enter()
        event.set()

    threading.Thread(target=enter, daemon=True).start()
    return event


def test_requests_pass_while_nobody_holds_them(file, gate):
    assert entered(gate).wait(5)
    gate.leave()
    assert file.wait_for_requests(MOMENT)


def test_new_requests_wait_until_the_hold_is_over(file, gate):
    with file.held("test"):
        event = entered(gate)
        assert not event.wait(0.2)
        assert file.wait_for_requests(MOMENT), "one that waits is not in flight"
    assert event.wait(5)


def test_a_hold_waits_for_every_process_that_has_requests_in_flight(file, gate):
    other = Gate(file, 20)  # its files are opened anew, as those of another process
    for each in (gate, gate, other):
        each.enter()
    with file.held("test"):
        for each in (gate, other, gate):
            assert not file.wait_for_requests(MOMENT)
            each.leave()
        assert file.wait_for_requests(MOMENT)


def test_a_request_waits_no_longer_than_it_may(file):
    gate = Gate(file, 0.3)
    with file.held("test"):
        started = time.monotonic()
        gate.enter()
        assert 0.25 < time.monotonic() - started < 5
        assert not file.wait_for_requests(MOMENT)
    gate.leave()


def test_the_next_hold_is_seen_too(file, gate):
    for _ in range(3):
        with file.held("test"):
            event = entered(gate)
            assert not event.wait(0.1)
        assert event.wait(5)
        gate.leave()


def test_a_hold_that_is_killed_holds_nobody(file, gate):
    argv = [sys.executable, "-c", HOLDER, str(file.path)]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        event = entered(gate)
        assert not event.wait(0.2)
        holder.send_signal(signal.SIGKILL)
        assert event.wait(5)


def test_two_do_not_hold_at_once(file):
    with file.held("restore of one"), pytest.raises(LockHeld, match="by restore of one"):
        with file.held("restore of two"):
            pass


def test_a_forked_child_does_not_let_go_of_what_its_parent_has_in_flight(file, gate):
    gate.enter()
    if (child := os.fork()) == 0:
        gate.enter()
        gate.leave()
        os._exit(0)
    os.waitpid(child, 0)
    assert not file.wait_for_requests(MOMENT)


@pytest.mark.django_db
def test_a_body_that_is_still_sent_is_in_flight(file, gate):
    response = passing(gate, lambda _request: StreamingHttpResponse(iter([b"a", b"b"])))(
        RequestFactory().get("/")
    )
    assert next(iter(response)) == b"a"
    assert not file.wait_for_requests(MOMENT)
    response.close()
    response.close()
    assert file.wait_for_requests(MOMENT)


def test_a_view_that_is_ended_is_not_in_flight(file, gate):
    def end(_request):
        raise SystemExit

    with pytest.raises(SystemExit):
        passing(gate, end)(RequestFactory().get("/"))
    assert file.wait_for_requests(MOMENT)


@pytest.mark.django_db(transaction=True)
def test_connections_from_before_a_hold_are_closed_at_the_next_request(file, gate, monkeypatch):
    closed = []
    connection.ensure_connection()
    monkeypatch.setattr(connection, "close", lambda: closed.append(1))
    gate.enter()
    gate.leave()
    assert not closed
    with file.held("test"):
        pass
    for _ in range(2):
        gate.enter()
        gate.leave()
    assert closed == [1]


@pytest.mark.django_db
def test_connection_that_a_transaction_is_open_on_is_left_alone(file, gate):
    gate.enter()
    with file.held("test"):
        pass
    gate.enter()
    assert connection.in_atomic_block and connection.is_usable()


def test_middleware_holds(settings, file):
    settings.DEPLOY_OPS_HOLD_FILE = file.path
    middleware = HealthMiddleware(lambda _request: HttpResponse())
    with ThreadPoolExecutor(1) as pool:
        with file.held("test"):
            asked = pool.submit(middleware, RequestFactory().get("/"))
            time.sleep(0.3)
            assert not asked.done()
            assert middleware(RequestFactory().get("/health/")).status_code == 200
        assert asked.result().status_code == 200


def test_middleware_holds_in_an_event_loop(settings, file):
    settings.DEPLOY_OPS_HOLD_FILE = file.path

    async def view(_request):
        return HttpResponse()

    async def ask():
        middleware = HealthMiddleware(view)
        with file.held("test"):
            waiting = asyncio.create_task(middleware(RequestFactory().get("/")))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            polled = await middleware(RequestFactory().get("/health/"))
            assert polled.status_code == 200
        return await waiting

    assert asyncio.run(ask()).status_code == 200
    assert not file.wait_for_requests(MOMENT), "its response was not closed"


def test_nothing_is_in_the_way_without_a_hold_file():
    assert gate_of_this_process() is None


def test_a_file_that_cannot_be_used_does_not_keep_the_application_from_serving(
    settings, tmp_path, caplog
):
    (tmp_path / "file").touch()
    settings.DEPLOY_OPS_HOLD_FILE = tmp_path / "file" / "hold"
    assert gate_of_this_process() is None
    assert "no request is held while a restore swaps databases" in caplog.text
    with pytest.raises(ConfigurationError, match="cannot be used"):
        HoldFile(settings.DEPLOY_OPS_HOLD_FILE).is_held()


WORKERS = ["deploy_ops.health.gunicorn_worker.HoldingWorker", "gthread", "sync", "asgi"]


@pytest.fixture
def serve(tmp_path, sqlite_database, file):
    sqlite_database.execute("CREATE TABLE trip (id integer)")

    def start(worker_class, seconds=20):
        overrides = f'{{"DEPLOY_OPS_HOLD_SECONDS": {seconds}}}'
        env = {"SETTINGS_OVERRIDES": overrides, "DEPLOY_OPS_HOLD_FILE": str(file.path)}
        options = "--worker-class", worker_class, "--threads=2"
        return Server(tmp_path, sqlite_database.url, *options, **env)

    return start


def ask(server, count: int) -> list:
    """So many requests at once, of which nobody waits for the end."""
    headers = {"Host": "kvb.example.org", "X-Forwarded-Proto": "https"}
    pool = ThreadPoolExecutor(count)
    asked = [pool.submit(server.get, "/connect/", **headers) for _ in range(count)]
    pool.shutdown(wait=False)
    return asked


@pytest.mark.parametrize("worker_class", WORKERS)
def test_every_worker_holds(serve, worker_class, file):
    with serve(worker_class) as server:
        with file.held("test"):
            asked = ask(server, 2)
            time.sleep(0.5)
            assert not any(each.done() for each in asked)
        assert {each.result().status for each in asked} == {200}


@pytest.mark.parametrize("worker_class", [WORKERS[0], "asgi"])
def test_more_are_held_than_there_are_threads_and_polls_are_answered(serve, worker_class, file):
    with serve(worker_class) as server:
        with file.held("test"):
            asked = ask(server, 30)
            time.sleep(0.5)
            for _ in range(10):
                assert server.get("/health/").seconds < 1
            assert server.get("/health/db/?x").status == 200
            assert not any(each.done() for each in asked)
            assert file.wait_for_requests(MOMENT)
        assert {each.result().status for each in asked} == {200}


@pytest.mark.parametrize("worker_class", [WORKERS[0], "gthread"])
def test_held_requests_go_on_when_they_have_waited_long_enough(serve, worker_class, file):
    with serve(worker_class, seconds=1) as server, file.held("test"):
        answers = [each.result() for each in ask(server, 10)]
    assert {answer.status for answer in answers} == {200}
    assert 0.8 < max(answer.seconds for answer in answers) < 5


def test_requests_that_are_held_are_answered_by_a_worker_that_stops(serve, file):
    with serve(WORKERS[0]) as server:
        with file.held("test"):
            asked = ask(server, 6)
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        assert {each.result().status for each in asked} == {200}
        assert server.process.wait(10) == 0


def spoil(path, how):
    """Put something else in the place of a file, as a person or a clean-up does."""
    path.unlink()
    if how == "a directory":
        path.mkdir()
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "a link":
        path.symlink_to("/nowhere/hold")


@pytest.mark.parametrize("how", ["a directory", "a pipe", "a link"])
def test_what_is_put_in_the_place_of_a_hold_file_fails_no_request(file, gate, how, caplog):
    os.close(file.open_requests())
    assert not file.is_held()
    spoil(file.path, how)
    os.utime(file.requests)  # as by a hold that came before
    for _ in range(2):
        assert entered(gate).wait(5), "a request failed"
    assert [each.getMessage() for each in caplog.records if "cannot be used" in each.getMessage()]


def test_a_lock_that_nobody_gives_back_holds_no_request_for_ever(file):
    """Whoever asks whether requests are in flight has it for a moment, unless it is stopped then."""
    gate = Gate(file, 0.3)
    descriptor = file.open_requests()
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert entered(gate).wait(5)
    os.close(descriptor)
    gate.leave()


@pytest.mark.parametrize("name", ["path", "requests"])
def test_files_that_were_removed_are_made_again(file, gate, name):
    gate.enter()
    gate.leave()
    getattr(file, name).unlink()
    gate.enter()
    with file.held("test"):
        assert not file.wait_for_requests(MOMENT), "one is in flight"
        gate.leave()
        assert not entered(gate).wait(0.2)


@pytest.mark.parametrize("seconds", [-(10**6), 10**9])
def test_what_the_clock_says_holds_nobody(file, gate, seconds):
    moment = time.time() + seconds
    for path in (file.path, file.requests):
        path.touch()
        os.utime(path, (moment, moment))
    assert entered(gate).wait(5)


def test_garbage_in_the_file_holds_nobody(file, gate):
    file.path.write_bytes(b"\xff\0{")
    assert entered(gate).wait(5)
    with file.held("restore of one"), pytest.raises(LockHeld):
        file.path.write_bytes(b"\xff\0{")
        with file.held("restore of two"):
            pass


HEADERS = b"Host: kvb.example.org\r\nX-Forwarded-Proto: https\r\n"
GET = b"GET /connect/ HTTP/1.1\r\n" + HEADERS + b"\r\n"
POST = b"POST /connect/ HTTP/1.1\r\n" + HEADERS + b"Content-Length: 3\r\n"
# What a client sends in the hold, what after it, and how many answers it gets.
TALKS = {
    "HEAD": (GET.replace(b"GET", b"HEAD"), b"", 1),
    "two requests at once": (GET + GET, b"", 2),
    "the next one on a kept connection": (GET, GET, 2),
    "a body that comes late": (POST + b"\r\na", b"=1", 1),
    "a body that is waited for": (POST + b"Expect: 100-continue\r\n\r\n", b"a=1", 1),
    "half a line": (GET[:9], GET[9:], 1),
}


def statuses(client) -> list[bytes]:
    """Those of the answers that come until the connection is quiet, less 100 Continue."""
    client.settimeout(1.5)
    received = b""
    with contextlib.suppress(TimeoutError):
        while part := client.recv(65536):
            received += part
    return [status for status in re.findall(rb"HTTP/1.1 (\d+)", received) if status != b"100"]


@pytest.mark.parametrize("is_replaced", [False, True], ids=["stays", "is replaced in the hold"])
def test_each_request_is_answered_once_however_it_is_sent(serve, file, is_replaced):
    """Clients that have gone in the hold are in nobody's way; SIGHUP replaces the workers.

    A worker that stops closes the connection after its answer, and says so in it.
    """
    with serve(WORKERS[0]) as server, contextlib.ExitStack() as stack:
        with file.held("test"):
            clients = []
            for first, _, _ in TALKS.values():
                client = socket.create_connection(("127.0.0.1", server.port))
                stack.enter_context(client)
                client.sendall(first)
                clients.append(client)
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", server.port)) as leaving:
                    leaving.sendall(GET)
            time.sleep(0.5)
            if is_replaced:
                server.process.send_signal(signal.SIGHUP)
                time.sleep(1.5)
                late = ask(server, 4)
                time.sleep(0.3)
                assert not any(each.done() for each in late), "the new workers hold too"
                assert server.get("/health/").status == 200
        for client, (_, then, _) in zip(clients, TALKS.values(), strict=True):
            client.sendall(then)
        with ThreadPoolExecutor(len(clients)) as pool:
            answers = list(pool.map(statuses, clients))
        told = dict(zip(TALKS, answers, strict=True))
        most = 1 if is_replaced else 2
        assert told == {
            name: [b"200"] * min(number, most) for name, (_, _, number) in TALKS.items()
        }
        if is_replaced:
            assert {each.result().status for each in late} == {200}
        assert file.wait_for_requests(MOMENT)
