"""The benchmarks run: on next to no data, and whatever their numbers say."""

import subprocess
import sys

import pytest

from tests.project.runner import REPOSITORY

MAJOR = "--major=15"


@pytest.fixture(autouse=True)
def _there_is_a_server(pg15_cluster):
    """Skip where PostgreSQL 15 is missing."""


def report(*argv: str, server: str = MAJOR) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *argv, *server.split()],
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
    text = report("benchmarks.backup", "--rounds=1", "--scale=1")

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
    assert goals(report("benchmarks.safe_migrate", "--rounds=1", "--migrations=5")) == [
        "PostgreSQL, in one transaction: safe_migrate / migrate",
        "PostgreSQL, one by one: safe_migrate / migrate",
        "PostgreSQL, nothing to do: safe_migrate / migrate --check",
        "SQLite, in one transaction: safe_migrate / migrate",
        "SQLite, one by one: safe_migrate / migrate",
        "SQLite, nothing to do: safe_migrate / migrate --check",
    ]


def test_flags_beside_waffle_and_django_flags():
    text = report("benchmarks.flags", "--rounds=1", "--toggles=2")

    assert "queries of a check between two looks" in goals(text)
    assert "slowest toggle, ms" in goals(text)
    assert "| django-flags, request |" in text and "| waffle switch |" in text


def test_polls_beside_a_bare_application_and_a_peer():
    text = report("benchmarks.health", "--rounds=1", "--polls=40")

    assert goals(text) == [
        "/health/ / bare WSGI",
        "/health/ / django-health-check, cache, database, storage",
        "/health/ / django-health-check, no check",
        "/health/db/ / django-health-check, database",
    ]


def test_requests_with_a_hold_file_and_without():
    assert goals(report("benchmarks.hold", "--rounds=1", server="")) == [
        "µs more: with one, alone",
        "µs more: with one, others in flight",
    ]


def test_backfill_beside_one_update():
    assert goals(report("benchmarks.backfill", "--rounds=1", "--rows=3000", "--no-peer")) == [
        "rows/s: one worker / one UPDATE",
        "rows/s: two workers / one worker",
        "statements of others over 100 ms beside one worker",
        "peak memory of a worker, MB",
    ]


def test_switch_of_releases_beside_four_other_ways():
    text = report("benchmarks.release", "--rounds=1", "--switches=1", server="")

    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ")]
    assert [row[0].removeprefix("| ") for row in rows[2:]] == [
        "stop and start",
        "HUP",
        "USR2, WINCH, QUIT",
        "nginx reload",
        "deploy.sh: link",
    ]
    assert rows[-1][5] == "0", "no request fails"


def test_a_rename_under_load_beside_plain_django():
    text = report(
        "benchmarks.zero_downtime",
        "--rows=2000",
        "--changes=rename_field",
        "--tools=plain,ours",
        "--stage-seconds=0.1",
    )

    assert goals(text) == ["rename a field: late statements", "rename a field: errors"]
    assert "rename a field: errors | 0.00 | 0.00 to 0.00 | at most 0 | met" in text
    errors = {row.split(" | ")[1]: int(row.split(" | ")[6]) for row in rows_of(text)}
    assert errors["control: nothing"] == errors["deploy_ops"] == 0 < errors["Django"]


def rows_of(text: str) -> list[str]:
    """Rows of the table of changes."""
    return [row for row in text.splitlines() if row.startswith("| rename a field |")]
