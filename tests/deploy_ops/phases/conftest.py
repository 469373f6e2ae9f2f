"""What the tests of two phases share."""

import pytest

from deploy_ops.phases import instances

OLD, NEW = "1.0.0", "2.0.0"


@pytest.fixture
def contract(database, django_alias, project, monkeypatch, settings, tmp_path):
    """Ask as release 2.0.0 of a database that has known heartbeats for long: findings by id."""
    project.run("migrate", check=0, env={"APP_VERSION": OLD})
    database.execute("UPDATE django_migrations SET applied = applied - interval '3 hours'")
    database.execute("DELETE FROM deploy_ops_instance")
    tmp_path.chmod(0o700)
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path)
    monkeypatch.setenv("PGAPPNAME", "psql")  # sessions of the test, which end a moment late
    monkeypatch.setattr(instances, "code_version", lambda: NEW)

    def ask():
        findings = instances.contract_findings(django_alias)
        return {finding.id.removeprefix("deploy_ops."): finding.msg for finding in findings}

    return ask
