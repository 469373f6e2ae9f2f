"""Backups are restored while people ask behind nginx, and none of their requests fails.

Real gunicorn (2 workers of 4 threads), nginx and PostgreSQL; GET and POST on kept connections.
RESTORES=20 is the long form.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.clusters import free_port
from tests.conftest import scratch_database
from tests.deploy_ops.health.serving import Watch
from tests.drills.test_behind_a_load_balancer import running
from tests.kvb.production import HEADERS, Production
from tests.nginx import nginx_config
from tests.pooler import pooler
from tests.programs import find_program
from tests.project.runner import REPOSITORY
from tests.visitors import Visitors

RESTORES = int(os.environ.get("RESTORES", "1"))
LONGEST_SECONDS = 1.5
pytestmark = pytest.mark.timeout(300 + 60 * RESTORES)
SITE = """
upstream kvb {{ server 127.0.0.1:{server} max_fails=0; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://kvb;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-Proto https;
        proxy_next_upstream off;
    }}
}}
"""


@pytest.fixture
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


class Site(Production):
    """kvb-admin behind nginx, on a database with rows and a backup."""

    def __init__(self, directory: Path, database, *, url: str | None = None, **env: str) -> None:
        super().__init__(directory, url or database.url, "--threads=4", **env)
        self.database, self.nginx_port = database, free_port()

    @classmethod
    def prepared(cls, directory: Path, database, **options: str) -> "Site":
        """The backup has the name Vorher for what is called Nachher now.

        That takes its time, so the ports are those of a second one, free when it begins to serve.
        """
        cls(directory, database, **options).prepare()
        return cls(directory, database, **options)

    def prepare(self) -> None:
        self.manage("migrate", "-v0")
        self.database.execute("CREATE TABLE visited (name text)")
        self.database.execute("INSERT INTO visited VALUES ('Vorher')")
        self.manage("backup", "--noinput")
        self.rename()

    def rename(self) -> None:
        self.database.execute("UPDATE visited SET name = 'Nachher'")

    @contextmanager
    def visited(self) -> Iterator[list[Visitors]]:
        """Eight people for the block, and both their first and last answers are well."""
        config = self.directory / "nginx.conf"
        site = SITE.format(server=self.port, port=self.nginx_port)
        config.write_text(nginx_config(self.directory, site))
        with ExitStack() as stack:
            nginx = find_program("nginx"), "-c", str(config), "-p", str(self.directory)
            stack.enter_context(running(self.directory, *nginx))
            stack.enter_context(self)
            people = [Visitors(self.nginx_port, "/visit/", HEADERS) for _ in range(2)]
            for four in people:
                stack.enter_context(four)
            time.sleep(1)
            yield people
            time.sleep(1)

    @property
    def restore_argv(self) -> list[str]:
        name = self.database.name
        return [sys.executable, "manage.py", "restore", "latest", "--noinput", "--confirm", name]

    def restore(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.restore_argv, *options],
            cwd=REPOSITORY,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def failed(people: list[Visitors]) -> list[tuple[str, object]]:
    return [each for four in people for each in four.answers if each[1] != 200]


def longest(people: list[Visitors]) -> float:
    return max(seconds for four in people for seconds in four.seconds)


def report(story: str, people: list[Visitors], polls: Watch) -> None:
    """For whoever reads the output of the long form."""
    print(
        f"\n{RESTORES} restores {story}: {sum(len(four.answers) for four in people)} requests, "
        f"{len(failed(people))} failed, longest {longest(people):.2f} s; longest poll "
        f"{max(polls.seconds):.2f} s"
    )


def restore_again_and_again(site: Site, people: list[Visitors]) -> None:
    for _ in range(RESTORES):
        done = site.restore()
        assert done.returncode == 0, done.stderr
        time.sleep(0.3)
        assert {four.texts[-1] for four in people} == {"Vorher"}
        site.rename()


@pytest.mark.parametrize("health_checks", [True, False], ids=["health_checks", "none"])
def test_restores_under_load_fail_no_request(database, tmp_path, health_checks):
    """Nor without CONN_HEALTH_CHECKS, where the next query on an ended session would fail."""
    checks = json.dumps({"CONN_HEALTH_CHECKS": health_checks})
    site = Site.prepared(tmp_path, database, DATABASE_OVERRIDES=checks)
    with site.visited() as people, site.watched() as polls:
        restore_again_and_again(site, people)
    report(f"with CONN_HEALTH_CHECKS {health_checks}", people, polls)
    assert failed(people) == [], site.log()
    assert longest(people) < LONGEST_SECONDS
    assert polls.statuses == {200}


@pytest.fixture
def served(database, tmp_path):
    """A site whose requests have one second to end, with people on it."""
    seconds = json.dumps({"DEPLOY_OPS_HOLD_SECONDS": 2})
    site = Site.prepared(tmp_path, database, SETTINGS_OVERRIDES=seconds)
    with site.visited() as people:
        yield site, people


@contextmanager
def long_request(site: Site, query: str = "lock") -> Iterator[list[int]]:
    """One that is in flight for as long as the block; in the end its status."""
    status: list[int] = []

    def ask() -> None:
        status.append(site.get(f"/visit/?{query}", timeout=120, **HEADERS).status)

    thread = threading.Thread(target=ask)
    locked = site.database.connect()
    locked.execute("SELECT pg_advisory_lock(1)")
    thread.start()
    try:
        time.sleep(1)
        yield status
    finally:
        locked.close()
        thread.join()


@contextmanager
def restore_until(site: Site, line: str) -> Iterator[subprocess.Popen[str]]:
    """A restore that goes on for the block, once it has said so."""
    options = {"cwd": REPOSITORY, "env": site.env, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(site.restore_argv, **options) as restoring:
        while line not in restoring.stdout.readline():
            assert restoring.poll() is None
        time.sleep(1)
        yield restoring


def answered(people: list[Visitors], seconds: float = 1) -> int:
    """How many requests are answered within so many seconds."""
    before = sum(len(four.answers) for four in people)
    time.sleep(seconds)
    return sum(len(four.answers) for four in people) - before


def test_a_request_that_does_not_end_in_time_stops_the_swap(served):
    site, people = served
    with long_request(site) as status:
        done = site.restore()
        assert status == [], "the request is still in flight"
    assert done.returncode == 1
    assert "A request has been running for more than 1 s" in done.stderr
    assert "The live database was not changed, and requests go on." in done.stderr
    assert status == [200] and failed(people) == []
    assert {four.texts[-1] for four in people} == {"Nachher"}
    assert site.database.databases() == [site.database.name]


def test_a_request_that_does_not_end_in_time_is_cut_off_on_demand(served):
    site, people = served
    with long_request(site, "long") as status:
        done = site.restore("--end-requests")
        assert done.returncode == 0, done.stderr
        time.sleep(1)
        assert status == [500]
    assert "the swap will cut it off" in done.stdout
    assert failed(people) == []
    assert {four.texts[-1] for four in people} == {"Vorher"}


def test_requests_go_on_at_once_when_the_restore_is_killed(database, tmp_path):
    site = Site.prepared(tmp_path, database)
    with site.visited() as people:
        with long_request(site), restore_until(site, "Holding new requests") as restoring:
            assert answered(people) == 0, "all are held"
            assert site.get("/health/").status == 200
            restoring.send_signal(signal.SIGKILL)
            assert answered(people) > 8
    assert failed(people) == []
    assert {four.texts[-1] for four in people} == {"Nachher"}
    assert "had been cut off" in site.manage("restore").stdout


@pytest.fixture
def pooled(database, tmp_path):
    """A site that has no hold file, and PgBouncer in transaction mode before the database."""
    checks = {"CONN_HEALTH_CHECKS": False, "CONN_MAX_AGE": 60}
    with pooler(database.cluster, "transaction", "app", admin_users="app") as port:
        yield Site.prepared(
            tmp_path,
            database,
            url=f"postgresql://app@127.0.0.1:{port}/{database.name}",
            SETTINGS_OVERRIDES=json.dumps({"DEPLOY_OPS_HOLD_FILE": None}),
            DATABASE_OVERRIDES=json.dumps(checks),
            DEPLOY_OPS_DIRECT_DATABASE_URL=database.url,
            DEPLOY_OPS_PGBOUNCER_URL=f"postgresql://app@127.0.0.1:{port}/pgbouncer",
        )


def test_pgbouncer_holds_what_goes_through_it(pooled):
    with pooled.visited() as people, pooled.watched() as polls:
        restore_again_and_again(pooled, people)
    report("through PgBouncer, without a hold file", people, polls)
    assert failed(people) == [], pooled.log()
    assert longest(people) < LONGEST_SECONDS


def test_pgbouncer_goes_on_after_the_repair_of_a_killed_restore(pooled):
    with pooled.visited() as people:
        with long_request(pooled), restore_until(pooled, "Swapping the databases") as restoring:
            restoring.send_signal(signal.SIGKILL)
            restoring.wait()
            assert answered(people) == 0, "it stays paused"
            repaired = pooled.manage("restore").stdout
            assert answered(people) > 8
    assert "The swap had not taken place" in repaired
    assert f"PgBouncer had stayed paused for {pooled.database.name}, and goes on." in repaired
    assert failed(people) == []
