"""`manage.py health`: one line, exit 0 or 1."""

import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.clusters import free_port
from tests.deploy_ops.health.serving import black_hole

each_database = pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def one_line(result) -> str:
    assert result.stdout.count("\n") == 1 and result.stderr == "", repr(result)
    return result.stdout.strip()


@contextmanager
def answering(status: int, body: bytes, **headers: str):
    """A server that always answers this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            """Stay silent."""

    asked: list[str] = []
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@each_database
def test_deployed_project_is_healthy(project):
    project.run("migrate", check=0)
    assert one_line(project.run("health", check=0)) == "Healthy: database, migrations, cache"
    answer = project.json("health")
    passed = ["database", "migrations", "cache"]
    assert answer == {"status": "ok", "passed": passed, "notes": {}, "unknown": {}}
    project.database.execute(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('auth', '0099_newer', '2026-01-01')"
    )
    told = one_line(project.run("health", check=0))
    assert "migrations: auth.0099_newer applied, which this code does not have; all" in told
    project.database.execute("ALTER TABLE auth_user RENAME COLUMN email TO mail")
    told = one_line(project.run("health", check=1))
    assert told.endswith("and auth_user.email is missing, which it uses")


@each_database
def test_migrations_that_are_missing_are_named(project):
    project.with_apps("good_expand").run("migrate", check=0)
    project.run("migrate", "good_expand", "0002", check=0)
    report = one_line(project.run("health", check=1))
    assert report == "Not healthy: migrations: good_expand.0003_km_index not applied"
    assert project.json("health")["failing"] == {
        "migrations": "good_expand.0003_km_index not applied"
    }


@on_sqlite
def test_drain_file_and_checks_by_setting(project):
    (project.ops_dir / "drain").touch()
    project.settings(DEPLOY_OPS_READINESS_CHECKS=["storage"])
    report = one_line(project.run("health", check=1))
    assert report == "Not healthy: draining: the drain file exists"


@on_sqlite
def test_database_that_cannot_be_reached_within_the_timeout(project):
    with black_hole() as port:
        url = f"postgresql://anna:geheim@127.0.0.1:{port}/trips"
        started = time.monotonic()
        result = project.run("health", "--timeout", "1s", env={"DATABASE_URL": url}, check=1)
        assert time.monotonic() - started < 10  # most of it is starting Python
    report = one_line(result.__class__(result.argv, result.code, result.stdout, ""))
    assert "database: no answer within 1 s" in report and "geheim" not in repr(result)


@on_sqlite
def test_server_that_is_ready(project):
    with answering(200, b'{"status": "ok"}') as (url, asked):
        assert one_line(project.run("health", "--url", url, check=0)) == (
            f"Healthy: {url}/health/ready/"
        )
        project.run("health", "--url", f"{url}/health/db/", check=0)
    assert asked == ["/health/ready/", "/health/db/"]


@on_sqlite
@pytest.mark.parametrize(
    "status, body, headers, report",
    [
        (503, b'{"status": "error", "failing": ["cache"]}', {}, "answered 503: cache"),
        (302, b"", {"Location": "/health/db/"}, "answered 302"),
        (200, b"<h1>Log in</h1>", {}, "answered 200"),
        (200, b"[]", {}, "answered 200"),
        (500, b"", {}, "answered 500"),
    ],
)
def test_server_that_answers_something_else(project, status, body, headers, report):
    with answering(status, body, **headers) as (url, _):
        line = one_line(project.run("health", "--url", url, check=1))
    assert line == f"Not healthy: {url}/health/ready/: {report}"


@on_sqlite
def test_server_that_is_not_there(project):
    line = one_line(project.run("health", "--url", f"http://127.0.0.1:{free_port()}", check=1))
    assert "Connection refused" in line


@on_sqlite
def test_server_that_drips_is_left_after_the_timeout(project):
    """Every byte comes in time, so no time-out of the socket would ever end it."""

    def drip(listener):
        client, _ = listener.accept()
        with client:
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            while not stop.wait(0.3):
                try:
                    client.sendall(b"X-A: b\r\n")
                except OSError:
                    return

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = project.run("health", "--url", url, "--timeout", "1s", check=1, timeout=30)
        stop.set()
        thread.join()
    assert "no answer within 1 s" in result.stdout


@on_sqlite
def test_address_that_is_none(project):
    result = project.run("health", "--url", "localhost:8000", check=2)
    assert "http://127.0.0.1:8000/health/ready/" in result.stderr
