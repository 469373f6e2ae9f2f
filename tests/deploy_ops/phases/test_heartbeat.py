"""Real processes say which release they run, and pay nothing for it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.deploy_ops.health.serving import Server
from tests.deploy_ops.phases.conftest import OLD
from tests.pooler import pooler
from tests.project.runner import REPOSITORY

on_postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
on_pg15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)

HOST = {"Host": "kvb.example.org", "X-Forwarded-Proto": "https"}
NAMES = """
    SELECT application_name FROM pg_stat_activity
    WHERE datname = current_database() AND application_name NOT LIKE 'deploy_ops/%%'
      AND pid <> pg_backend_pid() AND application_name <> ''
"""
# A command that waits with a connection until it is ended, as a worker does.
WAITS = "from django.db import connection as c; c.ensure_connection(); import time; time.sleep(60)"
QUICK = "from django.db import connection as c; c.cursor().execute('SELECT 1')"
UNWATCHED = """
from django.db.backends.signals import connection_created
assert connection_created.disconnect(dispatch_uid="deploy_ops.heartbeat")
"""
# Statements of this thread while two connections are opened and used.
COUNTS = """
import threading, psycopg, django.db
count, execute = 0, psycopg.Cursor.execute
def counting(*args, **kwargs):
    global count
    count += threading.current_thread() is threading.main_thread()
    return execute(*args, **kwargs)
psycopg.Cursor.execute = counting
counts = []
for _ in range(2):
    count = 0
    django.db.connection.cursor().execute("SELECT 1")
    django.db.connection.close()
    counts.append(count)
print(counts)
"""


def wait_until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.05)
    return found


def rows(database):
    return database.query("SELECT release, program FROM deploy_ops_instance ORDER BY 1, 2")


def shell(code):
    return "shell", "--no-imports", "-c", code


@pytest.fixture
def migrated(project, database):
    project.run("migrate", check=0)
    if database.vendor == "postgresql":
        database.execute("DELETE FROM deploy_ops_instance")
    return project


@on_postgresql
@pytest.mark.parametrize("env", [{"APP_VERSION": OLD}, {}])
def test_session_names_its_release(migrated, database, env):
    """With APP_VERSION from its first moment on, else from its first statement on."""
    process = migrated.start(*shell(WAITS), env=env)
    [(name,)] = wait_until(lambda: database.query(NAMES))
    assert name.startswith("django shell release=")
    assert env == {} or name.endswith(OLD)
    os.killpg(process.pid, signal.SIGKILL)


@on_pg15
@pytest.mark.parametrize("given", [{"PGAPPNAME": "kvb web"}, {"OPTIONS": "kvb web"}])
def test_name_that_the_project_gave_stays(migrated, database, given):
    url = database.url
    if name := given.pop("OPTIONS", None):
        url += f"&application_name={name}"
    migrated.start(*shell(WAITS), env={"APP_VERSION": OLD, "DATABASE_URL": url} | given)
    assert wait_until(lambda: database.query(NAMES)) == [(f"kvb web release={OLD}",)]


@on_pg15
def test_short_command_leaves_its_row(migrated, database):
    """A cron job that is over before a minute, or a second, has passed."""
    migrated.run(*shell(QUICK), env={"APP_VERSION": OLD}, check=0)
    assert rows(database) == [(OLD, "manage.py shell")]


@on_pg15
def test_row_is_written_once_a_minute_at_most(migrated, database):
    def seen_at():
        migrated.run(*shell(QUICK), env={"APP_VERSION": OLD}, check=0)
        return database.query("SELECT seen_at FROM deploy_ops_instance")

    first = seen_at()
    assert seen_at() == first
    database.execute("UPDATE deploy_ops_instance SET seen_at = seen_at - interval '1 minute'")
    assert seen_at() > first


@on_pg15
@pytest.mark.parametrize("env, more", [({"APP_VERSION": OLD}, [0, 0]), ({}, [1, 0])])
def test_connection_of_a_request_makes_no_further_query(migrated, env, more):
    """But one in the life of a process, where its release had to be asked for."""
    without, counted = (
        json.loads(migrated.run(*shell(prelude + COUNTS), env=env, check=0).stdout)
        for prelude in (UNWATCHED, "")
    )
    assert [now - before for before, now in zip(without, counted)] == more


@on_pg15
def test_rows_of_long_ago_are_forgotten(migrated, database):
    database.execute(
        "INSERT INTO deploy_ops_instance VALUES"
        " ('0.1', 'web1', 'gunicorn', 1, now() - interval '1 year', now() - interval '91 days'),"
        " ('0.2', 'web1', 'gunicorn', 1, now() - interval '1 year', now() - interval '89 days')"
    )
    migrated.run(*shell(QUICK), env={"APP_VERSION": OLD}, check=0)
    assert [release for release, _ in rows(database)] == ["0.2", OLD]


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_nothing_is_written_where_there_is_no_table(project, database):
    assert project.run(*shell(QUICK), check=0).stderr == ""
    if database.vendor == "sqlite":
        project.run("migrate", check=0)
        project.run(*shell(QUICK), check=0)
        assert rows(database) == []


@on_pg15
def test_commands_that_deploy_are_no_instance(migrated, database):
    migrated.run("flags", "list", check=0)
    migrated.run("safe_migrate", check=0)
    assert rows(database) == []


@on_pg15
def test_what_cannot_be_written_is_logged_and_stops_nothing(migrated, database):
    migrated.settings(
        LOGGING={
            "version": 1,
            "handlers": {"stderr": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["stderr"]},
        }
    )
    database.execute("ALTER TABLE deploy_ops_instance ADD COLUMN extra int NOT NULL")
    result = migrated.run(*shell(QUICK), check=0)
    assert result.stderr.startswith("This process cannot record in table deploy_ops_instance")
    assert 'null value in column "extra"' in result.stderr


@on_pg15
def test_locked_table_is_not_waited_for(migrated, database):
    with database.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE deploy_ops_instance")
        started = time.monotonic()
        migrated.run(*shell(QUICK), check=0)
        assert time.monotonic() - started < 10


@on_pg15
def test_router_may_keep_the_rows_out(migrated, database):
    migrated.settings(DATABASE_ROUTERS=["tests.deploy_ops.phases.routers.Elsewhere"])
    migrated.run(*shell(QUICK), check=0)
    assert rows(database) == []


@on_pg15
def test_read_only_session_writes_nothing_and_says_nothing(migrated, database):
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    assert migrated.run(*shell(QUICK), check=0).stderr == ""
    assert rows(database) == []


@on_pg15
def test_start_connects_to_nothing_and_starts_nothing(migrated, database):
    program = (
        "import threading, django; django.setup(); from django.db import connection;"
        "print(connection.connection, threading.active_count())"
    )
    env = migrated.env | {"APP_VERSION": OLD}
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "None 1\n"


@on_pg15
def test_behind_a_pooler(migrated, database):
    """In transaction mode a session has the name of whoever used it last; the row stays right."""
    with pooler(database.cluster, "transaction", "app") as port:
        url = f"postgresql://app@127.0.0.1:{port}/{database.name}"
        result = migrated.run(*shell(QUICK), env={"APP_VERSION": OLD, "DATABASE_URL": url}, check=0)
    assert result.stderr == ""
    assert rows(database) == [(OLD, "manage.py shell")]


@on_pg15
@pytest.mark.parametrize("options", [[], ["--preload"]])
def test_every_forked_worker_is_seen(migrated, database, tmp_path, options):
    """Also where the master had imported the application, and connected, before it forked."""
    env = {"APP_VERSION": OLD, "SETTINGS_OVERRIDES": '{"CONN_MAX_AGE": null}'}
    with Server(tmp_path, database.url, "--workers=2", *options, **env) as server:
        assert server.get("/connect/", **HOST).status == 200
        assert wait_until(lambda: rows(database)) == [(OLD, "gunicorn")]


@on_pg15
def test_worker_that_is_only_polled_is_seen(migrated, database, tmp_path):
    with Server(tmp_path, database.url, APP_VERSION=OLD) as server:
        assert server.get("/health/").status == 200
        assert wait_until(lambda: rows(database)) == [(OLD, "gunicorn")]
        assert "Traceback" not in server.log()
