"""What polls answer while the database is stopped, restarted, refused, swallowed, frozen or full.

Real gunicorn with two workers, real PostgreSQL. In each story /health/ keeps its time.
"""

import json
import subprocess
import threading
import time

import environ
import pytest

from tests.clusters import free_port
from tests.conftest import running_cluster
from tests.deploy_ops.health.serving import FragileCluster, Server, black_hole

LIVENESS_SECONDS = 0.2
# A caller waits 1.5 s; the rest is for a busy machine.
DATABASE_SECONDS = 1.5 + 0.3
RECOVERY_SECONDS = 5.0
WORKERS = 2
CONNECTED = {"status": "ok", "db": "connected"}
UNAVAILABLE = {"status": "error", "db": "unavailable"}
VISITOR = {"Host": "kvb.example.org", "X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module")
def fragile():
    yield from running_cluster(15, tcp=True, make=FragileCluster)


@pytest.fixture(scope="module")
def anna(fragile):
    """A database whose owner logs in with a password over TCP; its URL."""
    fragile.create_role("anna", password="geheim")
    fragile.create_database("anna", "trips")
    return fragile.url("trips", "anna", "geheim")


@pytest.fixture(params=["gthread", "sync", "asgi"])
def serve(request, tmp_path):
    """Serve a database with each kind of worker."""

    def start(url: str, *options: str) -> Server:
        return Server(tmp_path, url, "--worker-class", request.param, *options)

    return start


def polls(server: Server, count: int = 4 * WORKERS):
    """So many that each worker answers some."""
    return [server.get("/health/db/") for _ in range(count)]


def wait_until_connected(server: Server) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while any(answer.status != 200 for answer in polls(server)):
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.1)


def assert_unavailable(server: Server, seconds: float = 4.0) -> None:
    """Every poll says so, in time, and polls after the first of each worker nearly at once."""
    end, answers = time.monotonic() + seconds, []
    while time.monotonic() < end:
        answers.append(server.get("/health/db/"))
        time.sleep(0.02)
    assert [answer.json() for answer in answers] == [UNAVAILABLE] * len(answers)
    assert {answer.status for answer in answers} == {503}
    took = sorted(answer.seconds for answer in answers)
    assert took[-1] < DATABASE_SECONDS
    assert took[-1 - WORKERS] < LIVENESS_SECONDS


def assert_alive(watch) -> None:
    assert watch.statuses == {200}
    assert len(watch.seconds) > 10
    assert max(watch.seconds) < LIVENESS_SECONDS, sorted(watch.seconds)[-5:]


def test_server_that_is_stopped_and_comes_back(serve, fragile, anna):
    with serve(anna) as server:
        assert {answer.status for answer in polls(server)} == {200}
        with server.watched() as watch:
            fragile.halt()
            try:
                time.sleep(1.1)  # an outcome is kept 1 s
                assert_unavailable(server)
            finally:
                fragile.resume()
            wait_until_connected(server)
        assert_alive(watch)


def test_server_restarted_between_polls_is_no_outage(serve, fragile, anna):
    with serve(anna) as server, server.watched() as watch:
        for _ in range(2):
            assert [answer.json() for answer in polls(server)] == [CONNECTED] * 8
            fragile.halt()
            fragile.resume()
            time.sleep(1.1)
        assert [answer.json() for answer in polls(server)] == [CONNECTED] * 8
    assert_alive(watch)
    assert "fails" not in server.log()


def test_refused_port(serve):
    with serve(f"postgresql://anna:geheim@127.0.0.1:{free_port()}/trips") as server:
        with server.watched() as watch:
            assert_unavailable(server)
        assert_alive(watch)
        log = server.log()
        # One line for each worker that was asked, not one for each poll; every poll's access line.
        assert 1 <= log.count("Health check database fails: ") <= WORKERS
        assert log.count('"GET /health/db/ HTTP/1.1" 503') > WORKERS
        assert '"GET /health/ HTTP' not in log and "django.request" not in log
        assert "geheim" not in log


def test_port_that_swallows_connections(serve):
    with black_hole() as port:
        with serve(f"postgresql://anna:geheim@127.0.0.1:{port}/trips") as server:
            with server.watched() as watch:
                assert_unavailable(server, seconds=8.0)
            assert_alive(watch)


def test_frozen_server_recovers_by_itself(serve, fragile, anna):
    with serve(anna) as server:
        assert {answer.status for answer in polls(server)} == {200}
        with server.watched() as watch:
            with fragile.frozen():
                time.sleep(1.1)
                assert_unavailable(server, seconds=6.0)
            wait_until_connected(server)
        assert_alive(watch)
        sessions = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'deploy_ops/%'"
        )
        assert fragile.execute(sessions)[0][0] <= WORKERS


def test_application_without_connections_left_is_not_a_database_that_is_down(serve, fragile, anna):
    with serve(anna, "--workers=1") as server:
        assert server.get("/health/db/").json() == CONNECTED
        fragile.execute("ALTER ROLE anna CONNECTION LIMIT 1")  # the probe has that one
        try:
            assert server.get("/connect/", **VISITOR).status == 500
            assert "too many connections for role" in server.log()
            with server.watched() as watch:
                for _ in range(3):
                    time.sleep(1.1)
                    assert server.get("/health/db/").json() == CONNECTED
            assert_alive(watch)
        finally:
            fragile.execute("ALTER ROLE anna CONNECTION LIMIT -1")


def test_exhausted_pool_of_the_application_is_not_a_database_that_is_down(tmp_path, anna):
    pooled = environ.Env.db_url_config(anna)
    pooled["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.5}}
    overrides = json.dumps({"DATABASES": {"default": pooled}})
    with Server(tmp_path, anna, "--workers=1", SETTINGS_OVERRIDES=overrides) as server:
        assert server.get("/connect/", **VISITOR).status == 200
        holder = threading.Thread(target=server.get, args=["/hold/"], kwargs=VISITOR)
        holder.start()
        time.sleep(0.5)
        with server.watched() as watch:
            assert server.get("/connect/", **VISITOR).status == 500
            assert "PoolTimeout" in server.log()
            for _ in range(2):
                time.sleep(1.1)
                assert server.get("/health/db/").json() == CONNECTED
            assert holder.is_alive()
        holder.join()
        assert_alive(watch)


def test_fifty_pollers_cause_two_transactions_a_second_and_process(serve, fragile, anna):
    with serve(anna) as server:
        polls(server)
        before = transactions(fragile)
        stop, statuses = threading.Event(), []

        def poll():
            while not stop.is_set():
                statuses.append(server.get("/health/db/").status)
                time.sleep(0.1)  # the processors are for the server too

        pollers = [threading.Thread(target=poll) for _ in range(50)]
        for poller in pollers:
            poller.start()
        time.sleep(5)
        stop.set()
        for poller in pollers:
            poller.join()
        assert set(statuses) == {200} and len(statuses) > 200
        assert transactions(fragile) - before <= 2 * WORKERS * 5 + 4  # and those that ask for it


def transactions(cluster) -> int:
    time.sleep(1.5)  # a session reports its statistics at most once a second
    asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'trips'"
    return cluster.execute(asked)[0][0]


def test_containers_check_from_outside(serve, fragile, anna):
    """`manage.py health --url` against a running server, as Docker's HEALTHCHECK calls it."""
    with serve(anna) as server:
        argv = [*server.argv[:1], "-m", "django", "health", "--url"]
        argv.append(f"http://127.0.0.1:{server.port}/health/db/")
        done = subprocess.run(argv, env=server.env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
