"""What production writes to its logs, and what it never writes."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from kvb.app.logging import FirstMention, JsonLines
from kvb.app.request_id import request_id
from kvb.app.secrets import without_secrets
from tests.conftest import scratch_database
from tests.kvb.production import SECRET_KEY, Production

PASSWORD = "Zq4v8Lw2xN"
SECRETS = (PASSWORD, SECRET_KEY, "partner-Vu7Wq2Ls9Kd4", "hunter22", "caller-Xy9Tk3Rm1")


@pytest.fixture(scope="module")
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture(scope="module")
def logs(database, tmp_path_factory):
    """A server that logs to files."""
    directory = tmp_path_factory.mktemp("logged")
    (directory / "log").mkdir()
    # The socket trusts everybody, so that any password will do.
    url = database.url.replace("app@", f"app:{PASSWORD}@")
    server = Production(directory, url, KVB_LOG_DIR=str(directory / "log"))
    server.manage("migrate", "-v0")
    with server:
        yield server


def lines(server: Production, name: str) -> list[dict]:
    """Every line of a log file, parsed: each has to be one JSON object."""
    return [json.loads(line) for line in text_of(server, name).splitlines()]


def text_of(server: Production, name: str) -> str:
    return (server.directory / "log" / name).read_text()


def about(server: Production, name: str, request: str, count: int = 0) -> list[dict]:
    """The lines of one request, once there are `count`: gunicorn's own comes after the answer."""
    deadline = time.monotonic() + 10
    while True:
        found = [line for line in lines(server, name) if line.get("request_id") == request]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_exception_is_in_error_log_once_without_its_secrets(logs):
    answer = logs.visit(
        "/fail/?token=hunter22",
        **{"X-Request-ID": "fail-1", "Authorization": "Bearer caller-Xy9Tk3Rm1"},
    )
    assert answer.status == 500
    (line,) = about(logs, "error.log", "fail-1")
    assert line["level"] == "ERROR" and line["version"] == "1.2.3"
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert (
        line["exception"].count("ValueError: postgresql://kvb:***@db/kvb *** *** password=***") == 1
    )
    # Who logged it first is in error.log; app.log tells the whole story, access line included.
    story = about(logs, "app.log", "fail-1", 3)
    assert [line["logger"] for line in story] == [
        "kvb.reisekosten",
        "django.request",
        "gunicorn.access",
    ]
    written = text_of(logs, "app.log") + text_of(logs, "error.log") + logs.log()
    assert [secret for secret in SECRETS if secret in written] == []


def test_every_event_has_the_id_that_the_answer_has(logs):
    answer = logs.visit("/say/?what=hello")
    name = answer.headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", name)
    said, access = about(logs, "app.log", name, 2)
    assert said["message"] == "said hello" and said["logger"] == "kvb.reisekosten"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", said["time"])
    assert '"GET /say/?what=hello HTTP/1.1" 200' in access["message"]


def test_missing_page_has_an_id_too(logs):
    # Django logs it after all middlewares.
    logs.visit("/nothing", **{"X-Request-ID": "missing-1"})
    messages = [line["message"] for line in about(logs, "app.log", "missing-1", 2)]
    assert "Not Found: /nothing" in messages


@pytest.mark.parametrize(
    "sane", ["4f1c0d9e", "Root=1-67891233-abcdef012345678912345678", "a" * 128]
)
def test_id_of_the_proxy_is_taken_over(logs, sane):
    assert logs.visit("/say/?what=x", **{"X-Request-ID": sane}).headers["X-Request-ID"] == sane


@pytest.mark.parametrize("odd", ["", "a" * 129, 'a"b', "a b", "-a", "ä", "{}"])
def test_odd_id_is_replaced(logs, odd):
    given = odd.encode().decode("latin-1")
    answer = logs.visit("/say/?what=x", **{"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_message_with_line_breaks_stays_one_line(logs):
    name = "forged-1"
    logs.visit("/say/?what=a%0A%7B%22level%22:%22ERROR%22%7D%E2%80%A8b", **{"X-Request-ID": name})
    said, _access = about(logs, "app.log", name, 2)
    assert said["message"] == 'said a\n{"level":"ERROR"}\u2028b'


def test_poll_writes_no_line(logs):
    for path in ("/health/", "/health/db/", "/health/ready/"):
        logs.get(path)
    # By the time that a later request is written, a line of theirs would be, too.
    logs.visit("/say/?what=x", **{"X-Request-ID": "polled-1"})
    about(logs, "app.log", "polled-1", 2)
    assert "GET /health/" not in text_of(logs, "app.log")


def test_files_are_for_owner_and_group(logs):
    for name in ("app.log", "error.log"):
        assert (logs.directory / "log" / name).stat().st_mode & 0o777 == 0o640


def test_logrotate_needs_no_signal(logs):
    log = logs.directory / "log"
    logs.visit("/say/?what=before", **{"X-Request-ID": "rotated-1"})
    (log / "app.log").rename(log / "app.log.1")
    for number in range(20):  # both workers have to notice
        logs.visit(f"/say/?what=after{number}", **{"X-Request-ID": "rotated-2"})
    assert "said before" in text_of(logs, "app.log.1")
    after = [line["message"] for line in about(logs, "app.log", "rotated-2")]
    assert [text for text in after if text.startswith("said")] == [
        f"said after{number}" for number in range(20)
    ]
    assert "rotated-2" not in text_of(logs, "app.log.1")


def test_commands_log_to_standard_error_and_leave_the_files_alone(logs):
    code = "import logging; logging.getLogger('kvb').warning('left alone password=hunter22'); print('result')"
    result = logs.manage("shell", "-v0", "-c", code)
    assert result.stdout == "result\n"
    assert json.loads(result.stderr)["message"] == "left alone password=***"
    assert "left alone" not in text_of(logs, "app.log")


def test_container_logs_to_standard_output(database, tmp_path):
    with Production(tmp_path, database.url) as server:
        server.visit("/say/?what=hello", **{"X-Request-ID": "container-1"})
        said = [line for line in server.log().splitlines() if "said hello" in line]
        assert json.loads(said[0])["request_id"] == "container-1"


def test_log_directory_that_cannot_be_written_stops_the_start(tmp_path):
    env = Production(tmp_path, "sqlite:///x", KVB_LOG_DIR=str(tmp_path / "none")).env
    started = subprocess.run(
        [sys.executable, "-c", "import kvb.app.wsgi"], env=env, capture_output=True, text=True
    )
    assert started.returncode != 0
    assert f"KVB_LOG_DIR names {tmp_path}/none, which is no directory" in started.stderr


def test_long_lines_of_many_processes_do_not_mix(tmp_path):
    code = (
        "import sys\n"
        "from kvb.app.logging import LogFile\n"
        "import logging\n"
        "log = LogFile(sys.argv[1])\n"
        "for _ in range(50):\n"
        "    log.emit(logging.makeLogRecord({'msg': sys.argv[2] * 50_000}))\n"
    )
    path = tmp_path / "app.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, letter]) for letter in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert {len(set(line)) for line in path.read_text().splitlines()} == {1}


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("postgresql://kvb:geheim@db/kvb", "postgresql://kvb:***@db/kvb"),
        ("connect(password='ge heim', user='kvb')", "connect(password=***, user='kvb')"),
        ("{'api_key': 'abc', 'month': '7'}", "{'api_key': ***, 'month': '7'}"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("GET /reset?token=abc&next=/ HTTP/1.1", "GET /reset?token=***&next=/ HTTP/1.1"),
        ("refused 'Bearer abc.d3f-4_5'", "refused 'Bearer ***'"),
        ("bearer authentication", "bearer authentication"),
        ("sessionid=abc; theme=dark", "sessionid=***; theme=dark"),
        ("csrftoken=abc", "csrftoken=***"),
        ("the token was refused", "the token was refused"),
        ("auth.User has no password yet", "auth.User has no password yet"),
    ],
)
def test_secrets_are_known_by_their_names(text, cleaned):
    assert without_secrets(text) == cleaned


@pytest.mark.parametrize(
    "part",
    [
        "a-",
        "a",
        "token-",
        "token",
        "token ",
        'token="',
        "a://",
        "a://b:",
        "bearer ",
        "password ",
        "' ",
    ],
)
def test_text_that_a_caller_chose_takes_no_time_to_clean(part):
    """A worker does nothing else meanwhile; in quadratic time this would be minutes."""
    started = time.monotonic()
    without_secrets(part * (64_000 // len(part)))
    assert time.monotonic() - started < 1


def mentions(*errors: Exception | None) -> list[bool]:
    """What the filter says to each."""
    once, said = FirstMention(), []
    for error in errors:
        information = (type(error), error, None) if error else None
        record = logging.LogRecord("kvb", logging.ERROR, "", 0, "failed", (), information)
        said.append(once.filter(record))
    return said


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception that takes no mark."""

    code: int


def test_exception_that_an_inner_caller_logged_is_not_logged_again():
    error = ValueError("x")
    outside = request_id.set(None)  # whatever an earlier test has left
    token = request_id.set("first")
    try:
        assert mentions(error, error, ValueError("x"), None) == [True, False, True, True]
        assert mentions(Frozen(1)) == [True]
        # The same object in another request is another event: MemoryError is made beforehand.
        request_id.set("second")
        assert mentions(error, error) == [True, False]
    finally:
        request_id.reset(token)
    assert mentions(error, error) == [True, True]
    request_id.reset(outside)


def test_lines_outside_of_requests_have_no_id():
    line = json.loads(JsonLines().format(logging.makeLogRecord({"msg": "x", "levelname": "INFO"})))
    assert "request_id" not in line
    assert line["process"] == os.getpid()
