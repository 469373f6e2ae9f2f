"""Whether an older release works on the schema as it is."""

import pytest

from tests.sample_apps.modelled import ModelledApp

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
OLD = "class Order(models.Model):\n    note = models.CharField(max_length=50)\n"
WITHOUT_NOTE = "class Order(models.Model):\n    kind = models.IntegerField(null=True)\n"
WITH_MUST = f"{OLD}    must = models.IntegerField(default=1)\n"
CONTRACT = ("safe_migrate", "--phase", "contract", "--force", "--no-backup")
NEW = {"APP_VERSION": "1.1.0"}


@pytest.fixture
def shop(project, database):
    """Release 1.0.0 was deployed, with its models."""
    app = ModelledApp(project.directory)
    project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    app.models(OLD)
    project.run("makemigrations", "shop", "--noinput", check=0)
    project.run("safe_migrate", "--no-backup", check=0, env={"APP_VERSION": "1.0.0"})
    return app


def ask(project, *, code, version="1.0.0"):
    return project.json("rollback", "--to", version, check=code, env=NEW)


@PG15
def test_code_only_until_the_contract_and_the_schema_first_after_it(project, database, shop):
    shop.models(WITHOUT_NOTE)
    project.run("make_two_phase", "shop", "--noinput", check=0)
    taken = project.json("safe_migrate", check=0, env=NEW)["backup"]
    assert ask(project, code=0)["decision"] == "code_only"
    assert ask(project, code=0, version="v1.0.0")["why"] == []

    project.run(*CONTRACT, check=0, env=NEW)
    way = ask(project, code=1)
    assert way["decision"] == "schema_first"
    assert [each["id"] for each in way["why"]] == ["deploy_ops.T006"]
    assert way["targets"] == [["shop", "0001_initial"]]
    assert way["backup"] == taken
    told = project.run("rollback", "--to", "v1.0.0", check=1, env=NEW).stdout
    assert "python manage.py safe_migrate shop 0001_initial" in told
    assert f"python manage.py restore {taken}" in told


@PG15
def test_a_column_that_old_code_leaves_out(project, shop):
    shop.models(WITH_MUST)
    project.run("makemigrations", "shop", "--noinput", check=0)
    project.run(
        "safe_migrate", "--no-backup", "--allow", "T007", "--allow", "L105", check=0, env=NEW
    )
    assert [each["id"] for each in ask(project, code=1)["why"]] == ["deploy_ops.T007"]


@PG15
def test_a_release_that_was_never_here(project, shop):
    told = project.run("rollback", "--to", "v0.9.0", check=1, env=NEW).stderr
    assert "it was not released into this database from this host. Known are 1.0.0." in told


@PG15
def test_a_release_without_migrations_is_known_after_postdeploy(project, database, shop):
    """It is noted with what it needs, so that the way back to it can be told."""
    refused = project.run("rollback", "--to", "1.0.1", check=1, env=NEW)
    assert "Known are 1.0.0" in refused.stderr
    code = "from deploy_ops.release.postdeploy import note_release; note_release('default')"
    project.run("shell", "-c", code, check=0, env={"APP_VERSION": "1.0.1"})
    assert ask(project, code=0, version="1.0.1")["decision"] == "code_only"


def outlook(project, **env):
    findings = project.json("predeploy", check=0, env=env)["findings"]
    [told] = [each for each in findings if each["id"] == "deploy_ops.R013"]
    return told["level"], told["message"]


@PG15
def test_the_way_back_is_told_before_there_is_one(project, shop):
    """Of 1.0.0 itself nothing is before it; a removal in two phases keeps the way, at once not."""
    level, told = outlook(project, APP_VERSION="1.0.0")
    assert level == "info"
    assert "No release before this one was recorded" in told
    shop.models(WITHOUT_NOTE)
    project.run("make_two_phase", "shop", "--noinput", check=0)
    assert outlook(project, **NEW) == ("info", "The way back to 1.0.0 takes code only.")

    project.settings(DEPLOY_OPS_TWO_PHASE=False)
    level, told = outlook(project, **NEW)
    assert level == "warning"
    assert "The way back to 1.0.0 takes more than code:" in told
    assert "To undo: shop.0002" in told
    [schema] = (project.ops_dir / "schemas").iterdir()
    schema.write_text("{}")
    level, told = outlook(project, **NEW)
    assert level == "warning"
    assert "recorded by another version of deploy_ops" in told
