"""Contract is refused while a process of the old release lives, and not once it is gone.

The process asked for is a real one: gunicorn with a connection that does nothing, a worker, a cron
job between two runs.
"""

import os
import signal
import time

import psycopg
import pytest

from tests.deploy_ops.health.serving import Server
from tests.deploy_ops.phases.conftest import NEW, OLD, contract
from tests.deploy_ops.phases.test_heartbeat import HOST, QUICK, WAITS, rows, shell, wait_until
from tests.sample_apps.written import WrittenApp

__all__ = ["contract"]
pytestmark = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)

TRIP = """
migrations.CreateModel("trip", [
    ("id", models.BigAutoField(primary_key=True)),
    ("note", models.CharField(max_length=50)),
]),
"""
CONNECTED = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s"


def let_two_hours_pass(database):
    database.execute("UPDATE deploy_ops_instance SET seen_at = seen_at - interval '2 hours'")


def url_with_a_lasting_connection(database):
    return f"{database.url}&conn_max_age=600"


def test_gunicorn_with_an_idle_connection(contract, database, tmp_path):
    assert list(contract()) == ["T004"]
    url = url_with_a_lasting_connection(database)
    with Server(tmp_path, url, "--workers=1", APP_VERSION=OLD) as server:
        assert server.get("/connect/", **HOST).status == 200
        wait_until(lambda: rows(database))
        let_two_hours_pass(database)  # only its session is left to tell of it
        findings = contract()
        assert list(findings) == ["T001"]
        assert f"Release {OLD} is still at work:\n- gunicorn release={OLD}" in findings["T001"]
        assert "connected since" in findings["T001"] and "last seen" not in findings["T001"]
    wait_until(lambda: not database.query(CONNECTED, ["gunicorn%"]))
    assert list(contract()) == ["T004"]


def test_command_refuses_until_gunicorn_is_gone(contract, database, project, tmp_path):
    shop = WrittenApp(project.directory)
    project.with_apps(shop.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    shop.migration("0001_initial", TRIP)
    project.run("safe_migrate", "--no-backup", env={"APP_VERSION": OLD}, check=0)
    shop.migration("0002_without", 'Contract(migrations.RemoveField("trip", "note")),')
    project.run("safe_migrate", "--no-backup", env={"APP_VERSION": NEW}, check=0)
    run = "safe_migrate", "--phase", "contract", "--no-backup"
    url = url_with_a_lasting_connection(database)
    with Server(tmp_path, url, "--workers=1", APP_VERSION=OLD) as server:
        assert server.get("/connect/", **HOST).status == 200
        wait_until(lambda: rows(database))
        for _ in range(2):  # its session and its row, then its session alone
            refused = project.run(*run, env={"APP_VERSION": NEW}, check=1)
            assert f"Release {OLD} is still at work:" in refused.stderr
            assert "note" in database.schema()["shop_trip"]
            let_two_hours_pass(database)
    wait_until(lambda: not database.query(CONNECTED, ["gunicorn%"]))
    let_two_hours_pass(database)
    project.run(*run, env={"APP_VERSION": NEW}, check=0)
    assert "note" not in database.schema()["shop_trip"]


def test_who_was_seen_before_a_restore_is_not_known_after_it(contract, database, project):
    """A cron job of the old release ran a moment ago, and the backup is older."""
    project.run("backup", check=0)
    database.execute(
        "INSERT INTO deploy_ops_instance (release, host, program, pid, first_seen, seen_at)"
        " VALUES (%s, 'web1', 'cron', 7, now(), now())",
        [OLD],
    )
    assert list(contract()) == ["T001"]
    project.run("restore", "latest", "--noinput", "--confirm", database.name, check=0)
    findings = contract()
    assert list(findings) == ["T003"] and "was restored at" in findings["T003"]


def test_gunicorn_without_a_connection(contract, database, tmp_path):
    """CONN_MAX_AGE = 0: between two requests there is no session, but the process is seen."""
    with Server(tmp_path, database.url, "--workers=1", APP_VERSION=OLD) as server:
        assert server.get("/connect/", **HOST).status == 200
        wait_until(lambda: rows(database))
        wait_until(lambda: not database.query(CONNECTED, ["gunicorn%"]))
        findings = contract()
        assert list(findings) == ["T001"]
        assert "gunicorn on" in findings["T001"] and "last seen" in findings["T001"]


def test_worker_that_was_killed(contract, database, project):
    worker = project.start(*shell(WAITS), env={"APP_VERSION": OLD})
    wait_until(lambda: rows(database))
    assert contract()["T001"].count("\n- ") == 2  # its session and its row
    os.killpg(worker.pid, signal.SIGKILL)
    wait_until(lambda: not database.query(CONNECTED, ["django shell%"]))
    findings = contract()
    assert findings["T001"].count("\n- ") == 1 and "last seen" in findings["T001"]
    let_two_hours_pass(database)
    assert list(contract()) == ["T004"]


def test_cron_job_between_two_runs(contract, database, project):
    project.run(*shell(QUICK), env={"APP_VERSION": OLD}, check=0)
    assert not database.query(CONNECTED, ["%shell%"])
    assert "manage.py shell on" in contract()["T001"]
    let_two_hours_pass(database)
    assert list(contract()) == ["T004"]


def test_processes_of_the_new_release_do_not_count(contract, database, project):
    project.start(*shell(WAITS), env={"APP_VERSION": NEW})
    wait_until(lambda: rows(database))
    assert contract() == {
        "T004": "No process of an older release is connected, and none was seen for 2 h. "
        f"Seen of {NEW} or a release as new: 2."
    }


def test_session_without_a_name_counts_and_a_person_at_psql_does_not(contract, database):
    nameless = psycopg.connect(database.url, application_name="")
    with nameless, psycopg.connect(database.url, application_name="psql"):
        findings = contract()
        assert list(findings) == ["T002"]
        assert findings["T002"].count("\n- ") == 1


def test_another_database_of_the_server_does_not_count(contract, database):
    name = f"{database.name}_beside"
    database.cluster.create_database("app", name)
    with database.beside(name).connect() as elsewhere:
        elsewhere.execute(f"SET application_name = 'gunicorn release={OLD}'")
        assert list(contract()) == ["T004"]


def test_another_role_sees_the_release_all_the_same(contract, database):
    """Without pg_read_all_stats since when is not told, but who it is."""
    role = f"other_{os.getpid()}_{time.monotonic_ns()}"
    database.cluster.create_role(role)
    try:
        with database.cluster.connect(database.name, role) as session:
            session.execute(f"SET application_name = 'gunicorn release={OLD}'")
            assert f"gunicorn release={OLD}, connected (server process" in contract()["T001"]
    finally:
        database.cluster.execute(f"DROP ROLE {role}")


def test_whoever_recorded_what_waits_does_not_need_it(contract, database, project):
    """2.0.0 asks, the row is of 1.0.0; there is nothing of 0.9.0, which it waits for."""
    shop = WrittenApp(project.directory)
    project.with_apps(shop.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    shop.migration("0001_initial", TRIP)
    project.run("migrate", env={"APP_VERSION": "0.9.0"}, check=0)
    let_two_hours_pass(database)
    shop.migration("0002_without", 'Contract(migrations.RemoveField("trip", "note")),')
    project.start(*shell(WAITS), env={"APP_VERSION": OLD})
    wait_until(lambda: (OLD, "django shell") in rows(database))
    assert list(contract()) == ["T001"]
    project.run("safe_migrate", "--no-backup", env={"APP_VERSION": OLD}, check=0)
    assert list(contract()) == ["T004"]
    project.run(*shell(QUICK), env={"APP_VERSION": "0.9.0"}, check=0)
    assert "Release 0.9.0 may still be at work" in contract()["T001"]


def test_facts_are_missing(contract, database, project):
    database.execute("UPDATE django_migrations SET applied = now()")
    assert "reported that they are alive only since" in contract()["T003"]
    project.run("migrate", "deploy_ops", "0001", check=0)
    assert "table deploy_ops_instance is missing" in contract()["T003"]
