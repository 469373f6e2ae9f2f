"""Backfill in a migration: run there, resumed, put off to workers; and the command."""

import re
import time
from decimal import Decimal

import pytest
from django.db.models import F, Q

from deploy_ops.phases import Backfill
from deploy_ops.phases.where import source

APP = "fills_in_batches"
ROWS = 3000


@pytest.fixture
def project(filled):
    """The table is full before the migrations that fill columns of it."""
    return filled(ROWS)


both = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)


@both
def test_it_runs_inside_its_migration(project, counted):
    result = project.run("safe_migrate", APP, "0003", check=0)

    assert counted() == {1: ROWS}
    assert project.database.query(f"SELECT sum(refund) FROM {APP}_trip") == [
        (Decimal("0.30") * ROWS * (ROWS + 1) / 2,)
    ]
    assert "Applied fills_in_batches.0002_count" in result.stdout
    listed = project.json("backfill", "list")["backfills"]
    assert [(each["name"], each["state"], each["rows_written"]) for each in listed] == [
        ("fills_in_batches.0002_count#0", "done", ROWS),
        ("fills_in_batches.0003_refund#0", "done", ROWS),
    ]
    headings, first, _ = project.run("backfill", "list").stdout.splitlines()
    assert headings.split() == "BACKFILL STATE ROWS READ WRITTEN LAST BATCH DOES NOTES".split()
    told = rf"fills_in_batches\.0002_count#0 +done +{ROWS} of about \d+ +{ROWS} +0 min ago  .+"
    assert re.fullmatch(told, first)


def test_backwards_keeps_the_values_and_forwards_does_it_again(project, counted):
    for target in ("0002", "0001", "0002"):
        project.run("migrate", APP, target, check=0)

    assert counted() == {2: ROWS}


def test_refused_in_an_atomic_migration(postgresql_project):
    project = postgresql_project.with_apps("fills_in_a_transaction")
    project.run("migrate", "fills_in_a_transaction", "0001", check=0)
    result = project.run("safe_migrate", "fills_in_a_transaction", check=3)

    assert "commits each batch, which is not possible inside a transaction" in result.stdout
    assert "    atomic = False" in result.stdout


def test_a_new_app_is_filled_at_once_even_in_a_transaction(database, postgresql_project):
    postgresql_project.with_apps(APP).run("migrate", APP, check=0)

    assert postgresql_project.json("backfill", "list")["backfills"] == []


def test_sqlite(sqlite_project):
    project = sqlite_project.with_apps(APP)
    project.run("migrate", APP, "0001", check=0)
    for km in range(5):
        project.insert_trips(APP, ("x", km))
    project.run("migrate", APP, check=0)

    rows = project.database.query(f"SELECT km, n, m, refund FROM {APP}_trip ORDER BY km")
    assert rows == [(0, 1, 0, 0), (1, 1, 1, 0.3), (2, 1, 1, 0.6), (3, 1, 1, 0.9), (4, 1, 1, 1.2)]


def test_sqlmigrate_shows_the_statement(project, counted):
    shown = project.run("sqlmigrate", APP, "0002", check=0).stdout
    assert 'UPDATE "fills_in_batches_trip" SET "n" = ("fills_in_batches_trip"."n" + 1)' in shown
    assert "CANNOT BE WRITTEN AS SQL" in project.run("sqlmigrate", APP, "0003", check=0).stdout


def test_detached_is_left_to_workers(project, counted):
    project.run("migrate", APP, check=0)
    assert counted("m") == {0: ROWS}
    name = "fills_in_batches.0004_detached#0"
    [waiting] = [
        each for each in project.json("backfill", "list")["backfills"] if each["name"] == name
    ]
    assert waiting["state"] == "waiting"

    assert project.json("backfill", "run")["backfills"] == [name]

    assert counted("m") == {1: ROWS}
    assert project.run("backfill", "run", check=0).stdout == (
        "No backfill has anything left to do.\n"
    )


def test_it_starts_only_where_its_code_is(project, counted):
    project.run("migrate", APP, check=0)
    project.with_apps("good_expand")

    result = project.run("backfill", "run", "fills_in_batches.0004_detached#0", check=1)

    assert "The code that runs here knows no operation of the backfill" in result.stderr


def test_a_timer_passes_over_what_is_other_code_s(project, counted):
    """In between two releases, and while another operation fills a column of its own."""
    project.database.execute(
        "INSERT INTO deploy_ops_backfillprogress (name, relation, description, rows_total,"
        " rows_read, rows_written, release, created_at, waits_for, last_error) VALUES"
        " (%s, 'fills_in_batches_trip', '', 0, 0, 0, '', now(), '', '')",
        ("fills_in_batches_trip.km@16384.3",),
    )
    assert project.json("backfill", "run")["status"] == "nothing_to_do"
    project.run("migrate", APP, check=0)

    result = project.run("backfill", "run", check=0)

    assert "fills_in_batches_trip.km@16384.3 is skipped" in result.stdout
    assert counted("m") == {1: ROWS}


def test_pause_resume_cancel(project, counted):
    project.run("migrate", APP, check=0)
    name = "fills_in_batches.0004_detached#0"

    assert "paused" in project.run("backfill", "pause", name, check=0).stdout
    assert "already" in project.run("backfill", "pause", name, check=0).stdout
    assert "is paused" in project.run("backfill", "run", name, check=1).stderr
    project.run("backfill", "cancel", name, check=0)
    assert "is cancelled" in project.run("backfill", "run", name, check=1).stderr
    assert "cancelled" in project.run("backfill", "list", check=0).stdout
    project.run("backfill", "resume", name, check=0)
    assert project.run("backfill", "run", name, check=0).stdout.endswith(f"{ROWS} rows written\n")
    assert "is done" in project.run("backfill", "cancel", name, check=1).stderr
    assert project.json("backfill", "run", name)["status"] == "ok"


def test_an_unknown_name(project, counted):
    result = project.run("backfill", "run", "nope", check=2)

    assert result.stderr == ("There is no backfill 'nope'; there are: none. Nothing was changed.\n")


def test_the_migration_waits_for_a_pause_and_ends_with_a_cancel(project, counted):
    name = "fills_in_batches.0002_count#0"
    project.database.execute(
        "INSERT INTO deploy_ops_backfillprogress (name, relation, description, rows_total,"
        " rows_read, rows_written, release, created_at, paused_at, waits_for, last_error) VALUES"
        " (%s, 'fills_in_batches_trip', '', 0, 0, 0, '', now(), now(), '', '')",
        (name,),
    )
    migrating = project.start("safe_migrate", APP, "0002")
    while f"{name}: paused" not in project.output_of(migrating):
        assert migrating.poll() is None
        time.sleep(0.05)
    project.run("backfill", "cancel", name, check=0)
    result = project.finish(migrating)

    assert result.code != 0 and "the backfill was cancelled" in result.stdout
    assert counted() == {0: ROWS}


def test_it_is_written_into_a_file_as_it_is():
    backfill = Backfill("trip", "km", F("id"), where=Q(km=0), detached=True)
    assert "detached=True" in source(backfill) and "where=models.Q" in source(backfill)
