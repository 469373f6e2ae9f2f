"""The checklist before and after a release, on a real project."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import django
import psycopg
import pytest
from django.core.checks import ERROR, INFO, WARNING

from deploy_ops.audit import read_events
from deploy_ops.phases.instances import Facts, Process
from deploy_ops.release import predeploy
from deploy_ops.release.postdeploy import instance_finding
from deploy_ops.release.requirements import pinned
from tests.deploy_ops.release.test_tree import git
from tests.sample_apps.written import deploy_first

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
INITIAL = """
migrations.CreateModel("order", [
    ("id", models.BigAutoField(primary_key=True)), ("note", models.CharField(max_length=50)),
]),
"""


@pytest.fixture
def shop(project, database):
    return deploy_first(project, INITIAL)


def found(project, *options, code, **env):
    findings = project.json("predeploy", *options, check=code, env=env)["findings"]
    return {each["id"].removeprefix("deploy_ops."): each for each in findings}


@PG15
def test_what_is_pending_is_named_and_what_is_dangerous_refused(project, shop):
    assert found(project, code=0)["R001"]["message"] == "To be applied: nothing."
    shop.migration("0002_gone", 'migrations.RemoveField("order", "note"),')
    refused = found(project, code=1)["R001"]
    assert refused["level"] == "error"
    assert "0002_gone" in refused["message"]


@PG15
def test_a_backup_that_is_not_there_or_not_verified(project, shop):
    assert "There is no backup" in found(project, code=0)["R002"]["message"]
    taken = project.json("backup", check=0)["backup"]
    assert "R002" not in found(project, code=0)

    [toc] = (project.backups_dir / taken / "database").rglob("toc.dat")
    toc.write_bytes(toc.read_bytes()[:-1] + b"x")
    project.run("backups", "verify", taken, "--level", "hash", check=1)
    told = found(project, code=0)["R002"]["message"]
    assert f"{taken}, is not verified: " in told
    assert "not fresh" not in told


@SQLITE
def test_a_backup_that_is_verified_and_not_fresh(
    project, database, django_alias, settings, monkeypatch
):
    database.execute("CREATE TABLE trip (id INTEGER)")
    project.run("backup", check=0)
    settings.DEPLOY_OPS_BACKUP_DIR = project.backups_dir
    assert list(predeploy.backup_findings(django_alias)) == []
    monkeypatch.setattr(predeploy, "BACKUP_AGE", timedelta(0))
    [finding] = predeploy.backup_findings(django_alias)
    assert "is not fresh: it is 0 h old, of 0 at most." in finding.msg
    assert "not verified" not in finding.msg


@SQLITE
def test_a_disk_that_has_no_room_for_the_next_backup(django_alias, database, monkeypatch):
    database.execute("CREATE TABLE trip (id INTEGER)")
    assert list(predeploy.disk_findings(django_alias)) == []
    usage = shutil.disk_usage("/")._replace(free=1_000)
    monkeypatch.setattr(predeploy.shutil, "disk_usage", lambda path: usage)
    [finding] = predeploy.disk_findings(django_alias)
    assert finding.id == "deploy_ops.R003"
    assert "0 MB are free where backups are written" in finding.msg


@PG15
def test_flags_that_nobody_has_removed(project, shop, database):
    assert "R007" not in found(project, code=0)
    database.execute(
        "INSERT INTO deploy_ops_flagstate (name, users, groups, staff, superusers, revision)"
        " VALUES ('old_menu', '[]', '[]', false, false, 1)"
    )
    told = found(project, code=0)["R007"]
    assert told["level"] == "warning"
    assert told["message"] == "Flags that nobody has removed: old_menu."


@PG15
def test_a_tree_that_is_the_tag_and_what_ci_says_of_it(project, shop, tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "One")
    git(tmp_path, "tag", "-a", "v1.2.3", "-m", "Release")
    project.settings(BASE_DIR=str(tmp_path), ALLOWED_HOSTS=["kvb.example.org"])
    path = tmp_path / "ci.json"
    path.write_text(json.dumps({"commit": git(tmp_path, "rev-parse", "HEAD"), "tests": "passed"}))
    released = {"APP_VERSION": "1.2.3", "DEPLOY_OPS_CI_STATUS_FILE": str(path)}
    findings = found(project, code=0, **released)
    assert not {"R014", "R015", "R016"} & set(findings)
    assert findings["R009"]["message"] == "Nobody has confirmed here: review, stakeholders."

    path.write_text(json.dumps({"commit": git(tmp_path, "rev-parse", "HEAD"), "tests": "failed"}))
    findings = found(project, "--ci-status", str(path), code=1, APP_VERSION="1.2.4")
    assert findings["R015"]["message"].startswith("The tag of this code is v1.2.3")
    assert findings["R016"]["message"].startswith("CI says of this commit: tests failed")

    commit = git(tmp_path, "rev-parse", "HEAD")
    shutil.rmtree(tmp_path / ".git")  # an image has none, and its commit from its build
    findings = found(project, "--ci-status", str(path), code=1, APP_COMMIT=commit)
    assert findings["R016"]["message"].startswith("CI says of this commit: tests failed")


@PG15
def test_warnings_are_errors_with_strict(project, shop):
    assert found(project, code=0)["R002"]["level"] == "warning"
    assert found(project, "--strict", code=1)["R002"]["level"] == "warning"


@PG15
def test_secrets_that_are_none_are_not_shown(project, shop):
    project.settings(SECRET_KEY="django-insecure-0123456789")
    done = project.run("predeploy", check=1)
    assert "SECRET_KEY is no secret: startproject has generated it" in done.stdout
    assert "0123456789" not in done.stdout + done.stderr


@PG15
def test_connections_for_two_colours(project, shop, database):
    assert "R004" not in found(project, code=0)
    [(most,)] = database.query("SELECT current_setting('max_connections')::int")
    others = [database.connect() for _ in range(most // 2 + 5)]
    try:
        assert "needs about twice as many" in found(project, code=1)["R004"]["message"]
    finally:
        for each in others:
            each.close()


@PG15
def test_settings_that_are_not_for_production(project, shop):
    assert "R005" not in found(project, code=0)
    project.settings(DEBUG=True, DEPLOY_OPS_TWO_PHASE=True)
    assert "DEBUG is on" in found(project, code=1)["R005"]["message"]
    project.settings(ROOT_URLCONF="nothing.of.that.name", DEPLOY_OPS_TWO_PHASE=True)
    assert "cannot be run: ModuleNotFoundError" in found(project, code=1)["R010"]["message"]


@PG15
def test_confirmations_are_kept_with_the_name(project, shop):
    assert "tests, review, stakeholders" in found(project, code=0)["R009"]["message"]
    left = found(project, "--confirm", "tests, review,tests,", code=0, DEPLOY_BY="anna")["R009"]
    assert left["message"] == "Nobody has confirmed here: stakeholders."
    [event] = read_events(project.ops_dir)
    assert (event.kind, event.by, event.message) == ("check", "anna", "confirmed: tests, review")
    assert "knows tests, review" in project.run("predeploy", "--confirm", "moon", check=2).stderr
    assert len(read_events(project.ops_dir)) == 1


@pytest.mark.parametrize("url", ["https://127.0.0.1:9", "https://nowhere.invalid"])
@PG15
def test_a_certificate_that_nobody_has_seen(project, shop, url):
    told = found(project, "--url", url, code=1)["R008"]["message"]
    assert f"{url.removeprefix('https://')} does not answer, so its certificate was not" in told


@PG15
def test_after_a_release_that_nobody_answers_for(project, shop):
    shop.migration(
        "0002_more", 'migrations.AddField("order", "a", models.IntegerField(null=True)),'
    )
    findings = project.json("postdeploy", "--url", "http://127.0.0.1:9", check=1)["findings"]
    ids = ["deploy_ops.R011", "deploy_ops.R012", "deploy_ops.R018", "deploy_ops.R017"]
    assert [each["id"] for each in findings] == ids
    assert "shop.0002_more" in findings[0]["message"]
    assert findings[2]["level"] == "info"


@PG15
def test_other_releases_at_work_and_migrations_of_a_newer_one(project, shop, database):
    """A worker of another release has a session; shop.0002 was applied by code that has gone."""
    database.execute("INSERT INTO django_migrations VALUES (999, 'shop', '0002_new', now())")
    name = "celery release=1.1.0"
    with psycopg.connect(database.url, application_name=name):
        findings = project.json("postdeploy", "--url", "http://127.0.0.1:9", check=1)["findings"]
    found = {each["id"].removeprefix("deploy_ops."): each for each in findings}
    assert "shop.0002_new" in found["R020"]["message"]
    assert found["R018"]["level"] == "warning"
    assert "still at work:\n- 1.1.0: celery release=1.1.0" in found["R018"]["message"]


def test_processes_that_were_seen_lately_may_have_ended():
    now = datetime.now(UTC)
    facts = Facts([], (), "1.2.3", (), None, None, now, timedelta(hours=2))
    ours = Process("1.2.3", "gunicorn")
    gone = Process("1.2.2", "gunicorn on web1, last seen 8:00", is_connected=False)
    alone = instance_finding(replace(facts, processes=[ours]))
    assert (alone.level, alone.msg) == (
        INFO,
        "Connected or seen lately of 1.2.3: 1; of other releases: none.",
    )
    seen = instance_finding(replace(facts, processes=[ours, gone]))
    assert seen.level == INFO
    assert "may have ended:\n- 1.2.2: gunicorn on web1" in seen.msg
    at_work = instance_finding(replace(facts, processes=[ours, gone, Process(None, "python")]))
    assert at_work.level == WARNING
    assert "- unknown: python" in at_work.msg


def test_pins_of_a_compiled_file(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# made by uv\nasgiref==3.9.1 \\\n    --hash=sha256:aa\n    # via django\n"
        "psycopg[binary]==3.3.9 \\\n    --hash=sha256:bb\n"
        "tzdata==2026.1 ; sys_platform == 'win32' \\\n    --hash=sha256:cc\n-r other.txt\nloose>=1\n"
    )
    assert list(pinned(path)) == [("asgiref", "3.9.1"), ("psycopg", "3.3.9")]
    assert list(pinned(tmp_path / "missing")) == []


def test_what_is_installed_is_compared_with_what_is_pinned(tmp_path, settings):
    settings.BASE_DIR = tmp_path
    assert not [*predeploy.requirements_findings()]
    pins = f"django=={django.__version__}\npsycopg[c]==0.1 \\\n    --hash=sha256:0\nnot-here==1\n"
    (tmp_path / "requirements.txt").write_text(pins)
    first, second = predeploy.requirements_findings()
    assert first.id == second.id == "deploy_ops.R006" and first.level == ERROR
    assert f"pins psycopg 0.1; here it is {psycopg.__version__}." in first.msg
    assert "pins not-here 1; here it is not installed." in second.msg
