"""The checklist before and after a release, on a real project."""

import pytest

from deploy_ops.audit import read_events
from deploy_ops.release.requirements import pinned
from tests.sample_apps.written import deploy_first

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
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
def test_a_backup_that_is_old_or_not_there(project, shop):
    assert "There is no backup" in found(project, code=0)["R002"]["message"]
    project.run("backup", check=0)
    assert "R002" not in found(project, code=0)


@PG15
def test_connections_for_two_colours(project, shop, database):
    assert "R004" not in found(project, code=0)
    [(most,)] = database.query("SELECT current_setting('max_connections')::int")
    others = [database.connect() for _ in range(most // 2 + 5)]
    try:
        assert "needs them twice" in found(project, code=1)["R004"]["message"]
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
    left = found(project, "--confirm", "tests,review", code=0, DEPLOY_BY="anna")["R009"]
    assert left["message"] == "Nobody has confirmed here: stakeholders."
    [event] = read_events(project.ops_dir)
    assert (event.kind, event.by, event.message) == ("check", "anna", "confirmed: tests, review")
    assert "knows tests, review" in project.run("predeploy", "--confirm", "moon", check=2).stderr
    assert len(read_events(project.ops_dir)) == 1


@pytest.mark.parametrize("url", ["https://127.0.0.1:9", "https://nowhere.invalid"])
@PG15
def test_a_certificate_that_is_none(project, shop, url):
    assert "no valid certificate" in found(project, "--url", url, code=1)["R008"]["message"]


@PG15
def test_after_a_release_that_nobody_answers_for(project, shop):
    shop.migration(
        "0002_more", 'migrations.AddField("order", "a", models.IntegerField(null=True)),'
    )
    findings = project.json("postdeploy", "--url", "http://127.0.0.1:9", check=1)["findings"]
    assert [each["id"] for each in findings] == ["deploy_ops.R011", "deploy_ops.R012"]
    assert "shop.0002_more" in findings[0]["message"]


def test_pins_of_a_compiled_file(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# made by uv\nasgiref==3.9.1 \\\n    --hash=sha256:aa\n    # via django\n"
        "psycopg[binary]==3.3.9 \\\n    --hash=sha256:bb\n"
        "tzdata==2026.1 ; sys_platform == 'win32' \\\n    --hash=sha256:cc\n-r other.txt\nloose>=1\n"
    )
    assert list(pinned(path)) == [("asgiref", "3.9.1"), ("psycopg", "3.3.9")]
    assert list(pinned(tmp_path / "missing")) == []
