"""The smoke test of kvb-admin, on gunicorn as production runs it."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from tests.conftest import scratch_database
from tests.kvb.production import Production
from tests.project.runner import REPOSITORY

COUNTS = (
    "SELECT (SELECT count(*) FROM auth_user), (SELECT count(*) FROM reisekosten_fahrt),"
    " (SELECT count(*) FROM django_session)"
)
RULES = "SELECT users, staff FROM deploy_ops_flagstate"
LEFT = """
WITH made AS (
    INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email,
        is_staff, is_active, date_joined)
    VALUES (%s, '!', false, '', '', '', false, true, now())
    RETURNING id)
INSERT INTO reisekosten_fahrt (person_id, datum, von, nach, km, erstattung, zweck, beleg)
SELECT id, now(), 'a', 'b', 1, 1, 'left by a killed one', '' FROM made
"""
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
STEPS = [
    "the version answers",
    "it is ready",
    "log in",
    "write a trip and see it",
    "read it as JSON",
    "CSV export, which is off",
    "CSV export, switched on",
    "CSV export, off again",
    "delete it",
    "log out",
]


@pytest.fixture(scope="module")
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    directory = tmp_path_factory.mktemp("kvb")
    token = directory / "token"
    token.write_text("t" * 40)
    token.chmod(0o600)
    env = {"DEPLOY_OPS_METRICS_TOKEN_FILE": str(token)}
    made = Production(directory, database.url, "--bind", f"unix:{directory}/blue.sock", **env)
    made.manage("migrate", "-v0")
    with made:
        yield made


def argv_of(server, url=None, command="smoke_test"):
    argv = [sys.executable, "manage.py", command, "--format", "json"]
    return [*argv, "--url", url or url_of(server)]


def url_of(server):
    return f"http+unix://{quote(f'{server.directory}/blue.sock', safe='')}"


def smoke(server, url=None, **env):
    return run(server, argv_of(server, url), **env)


def run(server, argv, **env):
    done = subprocess.run(
        argv,
        cwd=REPOSITORY,
        env=server.env | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_every_step_passes_and_nothing_is_left(server, database):
    code, result, told = smoke(server)
    assert code == 0, told
    assert [step["name"] for step in result["steps"]] == STEPS
    assert all(step["error"] == "" for step in result["steps"])
    assert database.query(COUNTS) == [(0, 0, 0)]


def test_an_instance_of_another_version_fails(server, database):
    code, result, told = smoke(server, APP_VERSION="1.2.4")
    assert code == 1
    assert result["steps"][0]["error"] == "version 1.2.3 answers, not 1.2.4"
    assert "FAILED: version 1.2.3 answers, not 1.2.4" in told
    assert database.query(COUNTS) == [(0, 0, 0)]


def test_a_step_that_fails_leaves_nothing(server, database):
    database.execute("ALTER TABLE reisekosten_fahrt ADD CONSTRAINT no_bonn CHECK (nach <> 'Bonn')")
    try:
        code, result, told = smoke(server)
    finally:
        database.execute("ALTER TABLE reisekosten_fahrt DROP CONSTRAINT no_bonn")
    assert code == 1
    failed = result["steps"][-1]
    assert failed["name"] == "after 'log in'"
    assert failed["error"] == "POST /reisekosten/fahrt/neu/: 500 instead of 302"
    assert "1 of 4 steps failed" in told
    assert database.query(COUNTS) == [(0, 0, 0)]


def test_what_a_killed_one_has_left_is_removed_by_the_next_at_once(server, database):
    """Its flag ends as it was, and nobody but its account ever saw another."""
    server.manage("flags", "set", "csv_export", "--staff")
    killed = subprocess.Popen(argv_of(server), cwd=REPOSITORY, env=server.env, **QUIET)
    try:
        deadline = time.monotonic() + 60
        while database.query(RULES) == [([], True)]:
            assert time.monotonic() < deadline and killed.poll() is None
            time.sleep(0.02)
    finally:
        killed.kill()
        killed.wait()
    [([account], is_for_staff)] = database.query(RULES)
    assert database.query("SELECT id::text FROM auth_user") == [(account,)]
    assert is_for_staff
    assert database.query(COUNTS) == [(1, 1, 1)]

    code, result, told = smoke(server)
    assert code == 0, told
    assert [step["name"] for step in result["steps"]] == STEPS
    assert database.query(COUNTS) == [(0, 0, 0)]
    assert database.query(RULES) == [([], True)]
    server.manage("flags", "clear", "csv_export")


def test_one_that_may_be_at_work_on_another_host_is_left(server, database):
    old, young = (
        f"deploy-ops-smoke-{datetime.now(UTC) - timedelta(minutes=minutes):%Y%m%d%H%M%S}-0a1b2c3d"
        for minutes in (60, 1)
    )
    database.execute(LEFT, [old])
    database.execute(LEFT, [young])
    try:
        assert smoke(server)[0] == 0
        assert database.query("SELECT username FROM auth_user") == [(young,)]
    finally:
        database.execute("DELETE FROM reisekosten_fahrt")
        database.execute("DELETE FROM auth_user")


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("kvb.example.org", 2, "is not the URL of a server"),
        ("ftp://kvb.example.org", 2, "is not the URL of a server"),
        ("http://127.0.0.1:9", 1, "no answer"),
        ("http+unix://%2Fnowhere%2Fblue.sock", 1, "/nowhere/blue.sock does not answer"),
    ],
)
def test_nobody_there(server, url, code, said):
    ended, _, told = smoke(server, url)
    assert ended == code
    assert said in told


def test_what_is_looked_at_before_and_after_on_two_workers(server, database):
    """The metrics of both are added up; what they had before is compared with now."""
    metrics = ["--metrics", f"{url_of(server)}/metrics"]
    _, before, told = run(server, [*argv_of(server, command="predeploy"), *metrics])
    ids = {each["id"] for each in before["findings"]}
    assert "deploy_ops.R001" in ids, told
    assert not {"deploy_ops.R014", "deploy_ops.R017"} & ids
    code, after, told = run(server, [*argv_of(server, command="postdeploy"), *metrics])
    assert code == 0, told
    found = {each["id"].removeprefix("deploy_ops."): each["message"] for each in after["findings"]}
    assert set(found) == {"R018", "R019"}
    assert found["R018"].startswith("Connected or seen lately of 1.2.3: ")
    assert "1.2.3 had until" in found["R019"]
