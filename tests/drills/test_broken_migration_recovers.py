"""A release whose migration breaks: what the operator types, sees and has afterwards."""

import pytest

from tests.drills.conftest import TRIPS


def test_two_migrations_hold_and_the_third_breaks(deployed):
    project = deployed("bad_third")
    project.run("migrate", "bad_third", "0001", check=0)
    schema = project.database.schema()

    result = project.json("safe_migrate", check=3)

    assert result["status"] == "recovered"
    assert result["recovery"]["rung"] == "reversed"
    assert project.database.schema() == schema
    assert project.trips("bad_third") == TRIPS
    applied = project.database.query("SELECT name FROM django_migrations WHERE app = 'bad_third'")
    assert applied == [("0001_initial",)]


def test_the_message_says_what_why_state_and_next(deployed):
    project = deployed("bad_third")
    result = project.run("safe_migrate", check=3)
    report = result.stdout
    failure = "bad_third.0004_import_receipts failed: ValueError: line 7 of the import"
    assert report.index(failure) < report.index("Reversed bad_third.0003_receipt")
    assert "The schema is as it was" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_lossy_step_before_the_failure_is_answered_by_the_backup(deployed):
    project = deployed("bad_lossy")

    result = project.json("safe_migrate", check=3)

    assert result["recovery"]["rung"] == "restored"
    assert project.trips("bad_lossy") == TRIPS
    assert result["recovery"]["previous_database"]


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
def test_half_a_migration_without_transaction_needs_a_person_and_the_message_leads_out(deployed):
    """While others are connected, rows written outside any transaction may be theirs."""
    project = deployed("bad_nonatomic")
    schema = project.database.schema()
    with project.database.connect():
        result = project.json("safe_migrate", check=4)
        assert "What bad_nonatomic.0002_note_with_text wrote is not known" in (
            result["recovery"]["message"]
        )
        again = project.json("safe_migrate", check=4)
    assert (
        again["error"] == "PartiallyApplied" and f"--resolved {result['run']}" in again["message"]
    )

    way_out = ("restore", result["backup"], "--noinput", "--confirm", project.database.name)
    project.run(*way_out, check=0)

    assert project.database.schema() == schema
    assert project.trips("bad_nonatomic") == TRIPS
    # The way out leads out: the next run goes on, and meets the same broken migration.
    assert project.json("safe_migrate", check=3)["recovery"]["rung"] == "restored"


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
def test_half_a_migration_without_transaction_is_restored_where_nobody_else_is(deployed):
    project = deployed("bad_nonatomic")
    schema = project.database.schema()
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "restored"
    assert project.database.schema() == schema
    assert project.trips("bad_nonatomic") == TRIPS


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_half_a_migration_without_transaction_is_restored_where_one_writer_is_proof(deployed):
    project = deployed("bad_nonatomic")
    schema = project.database.schema()
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "restored"
    assert project.database.schema() == schema


def test_a_lone_broken_migration_rolls_back(deployed):
    project = deployed("bad_unique", trips=[("Messe", 1), ("Messe", 1)])
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "rolled_back"


def test_a_deferred_constraint_fails_with_its_step_and_not_after_it(deployed):
    project = deployed("deferred_constraint")
    result = project.json("safe_migrate", check=3)
    assert "0003_orphan_receipt failed" in result["error"]
    assert result["recovery"]["rung"] == "reversed"


def test_a_reverse_that_has_rows_to_give_back_is_not_believed_but_the_backup_is(deployed):
    project = deployed("bad_after_run_python")
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "restored"
    assert project.trips("bad_after_run_python") == TRIPS


def test_stop_stops_and_says_how_to_go_on(deployed):
    project = deployed("bad_third")
    result = project.json("safe_migrate", "--on-failure", "stop", check=4)
    assert result["recovery"]["rung"] == "manual_intervention"
    assert result["recovery"]["applied"] == [
        ["bad_third", "0002_note"],
        ["bad_third", "0003_receipt"],
    ]
    assert f"python manage.py restore {result['backup']}" in result["recovery"]["message"]
    assert project.trips("bad_third") == TRIPS


def test_a_failing_post_migrate_handler_is_told_and_nothing_is_reversed(deployed):
    project = deployed("bad_post_migrate")
    result = project.json("safe_migrate", check=4)
    assert result["applied"] == [["bad_post_migrate", "0002_note"]]
    assert result["recovery"]["rung"] == "not_needed"
    assert "python manage.py safe_migrate" in result["recovery"]["message"]
    assert "note" in project.database.schema()["bad_post_migrate_trip"]


def test_without_a_backup_the_cheap_rungs_still_hold(deployed):
    project = deployed("bad_third")
    result = project.json("safe_migrate", "--no-backup", check=3)
    assert result["backup"] is None
    assert result["recovery"]["rung"] == "reversed"


def test_a_single_transaction_leaves_nothing_to_reverse(deployed):
    project = deployed("bad_third")
    result = project.json("safe_migrate", "--single-transaction", check=3)
    assert result["recovery"]["rung"] == "rolled_back"
    assert project.trips("bad_third") == TRIPS


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
def test_a_failed_concurrent_index_is_cleared_away(deployed):
    project = deployed("bad_concurrent_index", trips=[("Messe", 1), ("Messe", 1)])
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "rolled_back"
    assert project.database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def test_success_leaves_a_backup_a_release_and_nothing_to_do(deployed):
    project = deployed("good_expand")
    result = project.json("safe_migrate", check=0)
    assert result["status"] == "ok"
    assert result["applied"] == [
        ["good_expand", "0002_cost_centre"],
        ["good_expand", "0003_km_index"],
    ]
    assert (project.backups_dir / result["backup"] / "manifest.json").exists()
    assert result["run"] in (project.ops_dir / "releases.jsonl").read_text()
    assert project.json("safe_migrate", check=0)["status"] == "nothing_to_do"
    assert len(list(project.backups_dir.glob("2*"))) == 1


def test_what_handlers_of_pre_migrate_wrote_is_told(deployed, trips):
    project = deployed("writes_before_it_migrates")

    message = project.json("safe_migrate", check=3)["recovery"]["message"]

    assert "Committed besides, and not undone: what handlers of pre_migrate did." in message
    assert "committed nothing else" not in message
    assert project.trips("writes_before_it_migrates") == [*trips, ("begun", 0)]


def test_the_table_of_migrations_that_a_first_run_makes_is_told(project):
    project.with_apps("fails_in_its_transaction")
    project.run("safe_migrate", "fails_in_its_transaction", "0001", check=0)
    project.database.execute("DROP TABLE django_migrations")
    project.database.execute("DROP TABLE fails_in_its_transaction_trip")

    result = project.json(
        "safe_migrate", "fails_in_its_transaction", "--single-transaction", check=3
    )

    assert "not undone: the table django_migrations." in result["recovery"]["message"]
