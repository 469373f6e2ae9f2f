"""Backups are restored while people ask behind nginx, and none of their requests fails.

Real gunicorn (2 workers of 4 threads), nginx and PostgreSQL; GET and POST on kept connections.
RESTORES=20 is the long form.
"""

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
from tests.drills.test_behind_a_load_balancer import NGINX, running
from tests.kvb.production import HEADERS, Production
from tests.pooler import pooler
from tests.programs import find_program
from tests.project.runner import REPOSITORY
from tests.visitors import Visitors

RESTORES = int(os.environ.get("RESTORES", "1"))
LONGEST_SECONDS = 1.5
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

    def prepare(self) -> "Site":
        """The backup has the name Vorher for what is called Nachher now."""
        self.manage("migrate", "-v0")
        self.database.execute("CREATE TABLE visited (name text)")
        self.database.execute("INSERT INTO visited VALUES ('Vorher')")
        self.backup()
        return self

    def backup(self) -> None:
        self.database.execute("UPDATE visited SET name = 'Vorher'")
        self.manage("backup", "--noinput")
        self.database.execute("UPDATE visited SET name = 'Nachher'")

    @contextmanager
    def visited(self) -> Iterator[list[Visitors]]:
        """Eight people for the block, and both their first and last answers are well."""
        config = self.directory / "nginx.conf"
        site = SITE.format(server=self.port, port=self.nginx_port)
        config.write_text(NGINX.format(directory=self.directory, snippet=site))
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


@pytest.mark.parametrize("health_checks", ["with", "without"])
def test_restores_under_load_fail_no_request(database, tmp_path, health_checks):
    env = {} if health_checks == "with" else {"NO_HEALTH_CHECKS": "1"}
    site = Site(tmp_path, database, **env).prepare()
    with site.visited() as people, site.watched() as polls:
        for _ in range(RESTORES):
            done = site.restore()
            assert done.returncode == 0, done.stderr
            time.sleep(0.3)
            assert {four.texts[-1] for four in people} == {"Vorher"}
            site.backup()
    print(
        f"\n{RESTORES} restores, CONN_HEALTH_CHECKS {health_checks}: "
        f"{sum(len(four.answers) for four in people)} requests, {len(failed(people))} failed, "
        f"longest {longest(people):.2f} s, longest poll {max(polls.seconds):.2f} s"
    )
    assert failed(people) == [], site.log()
    assert longest(people) < LONGEST_SECONDS
    assert polls.statuses == {200}
