"""Real processes on real databases: who sees a toggle when, and what a lost database does."""

import os
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

from tests.pooler import pooler
from tests.project.runner import REPOSITORY

POLL_SECONDS = 1.0
MARGIN_SECONDS = 0.1


class Process:
    """The application in a process of its own."""

    def __init__(self, url: str, **env: str) -> None:
        self.env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "kvb.app.settings_test",
            "DATABASE_URL": url,
            **env,
        }
        self.reader: subprocess.Popen | None = None

    def manage(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=REPOSITORY,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> "Process":
        self.reader = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy_ops.flags.reader"],
            cwd=REPOSITORY,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.reader.stdout.readline() == "ready\n"
        return self

    def ask(self, question: str = "csv_export") -> str:
        self.reader.stdin.write(f"{question}\n")
        return self.reader.stdout.readline().strip()

    def stop(self) -> str:
        """What it logged."""
        return self.reader.communicate(timeout=30)[1]


@pytest.fixture
def process_of():
    started = []

    def _start(url: str, **env: str) -> Process:
        started.append(Process(url, **env).start())
        return started[-1]

    yield _start
    for process in started:
        process.reader.kill()
        process.reader.communicate()


@pytest.fixture
def migrated(database):
    Process(database.url).manage("migrate", "-v0")
    return database


@pytest.fixture
def lose(postgresql_database):
    """Lock everybody out of the database and end their sessions; or let them in again."""
    cluster, name = postgresql_database.cluster, postgresql_database.name

    def _lose(is_lost: bool = True) -> None:
        cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not is_lost}")
        cluster.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )

    return _lose


def wait_for(process: Process, answer: str, seconds: float = 5) -> float:
    """Seconds until a process gives this answer."""
    began = time.monotonic()
    while process.ask() != answer:
        assert time.monotonic() - began < seconds, f"{process.ask()} instead of {answer}"
        time.sleep(0.005)
    return time.monotonic() - began


def test_toggle_reaches_every_process_within_the_interval(migrated, process_of):
    readers = [process_of(migrated.url), process_of(migrated.url)]
    assert [reader.ask() for reader in readers] == ["off default"] * 2
    readers[0].manage("flags", "on", "csv_export")
    for reader in readers:
        assert wait_for(reader, "on database:everyone") <= POLL_SECONDS + MARGIN_SECONDS


def test_percentage_is_the_same_in_every_process(migrated, process_of):
    Process(migrated.url).manage("flags", "set", "csv_export", "--percent", "50")
    questions = [f"csv_export {number}" for number in range(50)]
    one, other = process_of(migrated.url), process_of(migrated.url)
    answers = [one.ask(question) for question in questions]
    assert answers == [other.ask(question) for question in questions]
    assert len(set(answers)) == 2


def test_environment_comes_before_the_row(migrated, process_of):
    Process(migrated.url).manage("flags", "on", "csv_export")
    assert process_of(migrated.url, ENABLE_CSV_EXPORT="off").ask() == "off environment"


def test_lost_database_leaves_the_last_state_and_logs_once(postgresql_database, process_of, lose):
    process = Process(postgresql_database.url)
    process.manage("migrate", "-v0")
    process.manage("flags", "on", "csv_export")
    reader = process_of(postgresql_database.url)
    assert reader.ask() == "on database:everyone"
    lose()
    for _ in range(6):
        time.sleep(0.5)
        assert reader.ask() == "on database:everyone"
    lose(False)
    process.manage("flags", "off", "csv_export")
    wait_for(reader, "off database:everyone")
    logged = reader.stop()
    assert logged.count("Flags cannot be read from the database") == 1
    assert logged.count("In use: the last known state") == 1
    assert logged.count("Flags are read from the database again") == 1


def test_process_that_starts_without_the_database_has_environment_and_declarations(
    postgresql_database, process_of, lose
):
    Process(postgresql_database.url).manage("migrate", "-v0")
    Process(postgresql_database.url).manage("flags", "on", "csv_export")
    lose()
    reader = process_of(postgresql_database.url)
    forced = process_of(postgresql_database.url, ENABLE_CSV_EXPORT="5%")
    assert reader.ask() == "off default"
    assert forced.ask("csv_export 1").endswith("environment:percentage")
    lose(False)
    wait_for(reader, "on database:everyone")
    assert reader.stop().count("the environment and the declarations") == 1


def test_behind_a_pooler_in_transaction_mode_it_is_the_same(pg15, process_of):
    Process(pg15.url).manage("migrate", "-v0")
    with pooler(pg15.cluster, "transaction", "app") as port:
        reader = process_of(f"postgresql://app@127.0.0.1:{port}{urlsplit(pg15.url).path}")
        assert reader.ask() == "off default"
        Process(pg15.url).manage("flags", "on", "csv_export")
        assert wait_for(reader, "on database:everyone") <= POLL_SECONDS + MARGIN_SECONDS
