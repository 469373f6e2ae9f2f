"""The benchmarks run: on next to no data, and whatever their numbers say."""

import subprocess
import sys

import pytest

from tests.project.runner import REPOSITORY

POSTGRESQL = ["--major=15", "--rounds=1"]


@pytest.fixture(autouse=True)
def _there_is_a_server(pg15_cluster):
    """Skip where PostgreSQL 15 is missing."""


def report(*argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *argv, *POSTGRESQL],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def goals(text: str) -> list[str]:
    """Names of the ratios in the last table."""
    rows = text.rpartition("Goals")[2].splitlines()
    return [row.split("|")[1].strip() for row in rows if row.startswith("|")][2:]


def test_backup_restore_and_swap_beside_their_peers():
    text = report("benchmarks.backup", "--scale=1")

    assert goals(text) == [
        "backup without verify / pg_dump",
        "backup / pg_dump",
        "dbbackup / backup without verify",
        "dbbackup / backup",
        "peak memory of backup, MB",
        "restore / createdb, pg_restore, ANALYZE",
        "peak memory of restore, MB",
        "time in which no client could connect, ms",
    ]
    assert "| dbrestore | 1 |" in text
    assert "| verify |" in text


def test_safe_migrate_beside_migrate():
    assert goals(report("benchmarks.safe_migrate", "--migrations=5")) == [
        "PostgreSQL, in one transaction: safe_migrate / migrate",
        "PostgreSQL, one by one: safe_migrate / migrate",
        "PostgreSQL, nothing to do: safe_migrate / migrate --check",
        "SQLite, in one transaction: safe_migrate / migrate",
        "SQLite, one by one: safe_migrate / migrate",
        "SQLite, nothing to do: safe_migrate / migrate --check",
    ]


def test_flags_beside_waffle_and_django_flags():
    text = report("benchmarks.flags", "--toggles=2")

    assert "queries of a check between two looks" in goals(text)
    assert "slowest toggle, ms" in goals(text)
    assert "| django-flags, request |" in text and "| waffle switch |" in text


def test_polls_beside_a_bare_application_and_a_peer():
    text = report("benchmarks.health", "--polls=40")

    assert goals(text) == [
        "/health/ / bare WSGI",
        "/health/ / django-health-check, cache, database, storage",
        "/health/ / django-health-check, no check",
        "/health/db/ / django-health-check, database",
    ]


def test_backfill_beside_one_update():
    assert goals(report("benchmarks.backfill", "--rows=3000")) == [
        "rows/s: one worker / one UPDATE",
        "rows/s: two workers / one worker",
        "statements of others over 100 ms beside one worker",
        "peak memory of a worker, MB",
    ]
