"""Detached backfills on the workers of a project's task framework, with its queue in the database."""

import django
import pytest

from deploy_ops.phases.backfill.framework import framework

pytest.importorskip("django_tasks_db", reason="requirements-dev.txt is not installed")

APP = "fills_in_batches"
NAME = "fills_in_batches.0004_detached#0"
ROWS = 3000
QUEUE = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
FRAMEWORK = "django.tasks" if django.VERSION >= (6,) else "django_tasks"
IMMEDIATE = {"default": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend"}}
TASKS = "SELECT status, return_value FROM django_tasks_database_dbtaskresult ORDER BY enqueued_at"
AT_ONCE = "UPDATE django_tasks_database_dbtaskresult SET run_after = now() WHERE status = 'READY'"
WORKER = ("db_worker", "--batch", "--no-startup-delay", "--interval", "0.1")


@pytest.fixture
def project(filled):
    """Full tables, and a task framework; a slow pace makes it more than one slice."""
    project = filled(ROWS).with_apps(APP, "django_tasks_db.apps.TasksAppConfig")
    limits = {"rows_per_second": 1000}
    project.settings(TASKS=QUEUE, DEPLOY_OPS_BACKFILL_LIMITS=limits)
    project.run("migrate", "django_tasks_database", check=0)
    return project


def test_it_is_djangos_own_where_django_has_one():
    assert framework().__name__ == FRAMEWORK


def returned(database):
    return [value or status for status, value in database.query(TASKS)]


def test_safe_migrate_starts_it_and_workers_do_it_slice_by_slice(project, database, counted):
    told = project.run("safe_migrate", "--no-backup", check=0).stdout
    assert f"The backfill {NAME} is left to the workers" in told
    assert counted("m") == {0: ROWS}
    project.run("backfill", "run", NAME, "--enqueue", check=0)  # a second chain, side by side
    workers = [project.start(*WORKER) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    # A chain that found all ranges at work by the other has put itself off, and its worker ended.
    database.execute(AT_ONCE)
    project.run(*WORKER, check=0)
    assert counted("m") == {1: ROWS}
    assert returned(database)[-1] == "done" and "range" in returned(database)
    assert project.json("backfill", "list", check=0)["backfills"][-1]["state"] == "done"


def test_what_stops_a_chain_and_what_puts_it_off(project, database, counted):
    project.run("migrate", check=0)  # starts nothing
    assert database.query(TASKS) == []
    project.run("backfill", "pause", NAME, check=0)
    refused = project.run("backfill", "run", NAME, "--enqueue", check=1)
    assert f"{NAME} is paused" in refused.stderr
    project.run("backfill", "resume", NAME, check=0)
    project.run("backfill", "pause", NAME, check=0)
    project.run(*WORKER, check=0)
    assert returned(database) == ["stopped"] and counted("m") == {0: ROWS}

    # A worker of the release before, whose code has no such operation.
    database.execute(
        "UPDATE deploy_ops_backfillprogress SET paused_at = NULL, name = 'shop.0009_new#0'"
        " WHERE name = %s",
        [NAME],
    )
    project.run("backfill", "run", "--enqueue", check=0)
    project.run(*WORKER, check=0)
    assert returned(database) == ["stopped", "not in this code", "READY"]
    later = "SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE run_after BETWEEN now() + '30 s' AND now() + '70 s'"
    assert database.query(later) == [(1,)]


def test_without_workers_it_is_refused_and_nothing_else_changes(project, database):
    project.settings(TASKS=IMMEDIATE)
    told = project.run("safe_migrate", "--no-backup", check=0).stdout
    assert "task framework" not in told and "enqueue" not in told
    refused = project.run("backfill", "run", NAME, "--enqueue", check=1)
    assert "TASKS of the settings names no backend with workers" in refused.stderr
    assert f"backfill run '{NAME}'" in refused.stderr
    assert database.query(TASKS) == []


def test_a_queue_that_does_not_answer_fails_no_run(project, database):
    database.execute("DROP TABLE django_tasks_database_dbtaskresult")
    told = project.run("safe_migrate", "--no-backup", check=0).stdout
    assert "Backfills could not be enqueued" in told and "backfill run --enqueue" in told
