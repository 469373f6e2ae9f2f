"""The way back of one database beside another, which has releases and backups of its own."""

from contextlib import contextmanager

import environ
import pytest

from tests.conftest import scratch_database
from tests.deploy_ops.release.test_rollback import ALLOWED, MUST, NEW, OLD, PG15, add_order, write
from tests.sample_apps.modelled import ModelledApp

ALIAS = "reise db"
THERE = ("--database", ALIAS)


@pytest.fixture
def elsewhere(project, database, pg15_cluster):
    """1.1.0 was deployed to the other database, and 1.0.0 before it to both; only the default has a
    backup of then."""
    with contextmanager(scratch_database)(pg15_cluster) as other:
        here, there = (environ.Env.db_url_config(each.url) for each in (database, other))
        app = ModelledApp(project.directory)
        project.with_apps(app.name)
        project.settings(DEPLOY_OPS_TWO_PHASE=True, DATABASES={"default": here, ALIAS: there})
        app.models(OLD)
        project.run("makemigrations", "shop", "--noinput", check=0)
        for where in ((), THERE):
            project.run(
                "safe_migrate", "--no-backup", *where, check=0, env={"APP_VERSION": "1.0.0"}
            )
        project.run("backup", check=0)
        write(app, [MUST])
        project.run("safe_migrate", *ALLOWED, *THERE, "--no-backup", check=0, env=NEW)
        yield other


@PG15
def test_each_database_has_its_own_releases_and_backups(project, database, elsewhere):
    def plan(version, *where, code):
        return project.run("rollback", "--to", version, *where, "--plan", check=code, env=NEW)

    add_order(elsewhere, note="a", must=7)
    told = plan("1.0.0", *THERE, code=1).stdout
    assert "No backup is known on whose schema 1.0.0 works." in told
    assert f"python manage.py backups list --database '{ALIAS}'" in told

    plan("1.0.0", code=0)
    env = {"APP_VERSION": "1.2.0"}
    refused = project.run("rollback", "--to", "1.1.0", "--plan", check=1, env=env)
    assert "Releases known here: 1.0.0." in refused.stderr

    elsewhere.execute("UPDATE shop_order SET must = 1")
    project.run("rollback", "--to", "1.0.0", *THERE, "--noinput", check=0, env=NEW)
    assert elsewhere.query("SELECT * FROM shop_order") == [(1, "a")]
