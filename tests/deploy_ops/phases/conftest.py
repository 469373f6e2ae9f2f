"""What the tests of two phases share."""

import json

import pytest

OLD, NEW = "1.0.0", "2.0.0"
ASK = """
import json
from deploy_ops.phases.heartbeat import heartbeat
from deploy_ops.phases.instances import contract_findings
heartbeat.turn_off()
print(json.dumps({each.id.removeprefix("deploy_ops."): each.msg for each in contract_findings("default")}))
"""


@pytest.fixture
def contract(database, project, monkeypatch):
    """Ask as release 2.0.0, of a database that has known heartbeats for long: findings by id."""
    project.run("migrate", check=0, env={"APP_VERSION": OLD})
    database.execute("UPDATE django_migrations SET applied = applied - interval '3 hours'")
    database.execute("DELETE FROM deploy_ops_instance")
    monkeypatch.setenv("PGAPPNAME", "psql")  # sessions of the test, which end a moment late

    def ask():
        argv = "shell", "--no-imports", "-c", ASK
        return json.loads(project.run(*argv, env={"APP_VERSION": NEW}, check=0).stdout)

    return ask


@pytest.fixture
def postgresql_database(request):
    """PostgreSQL 15; what differs by version is asked of others by parametrizing it."""
    return request.getfixturevalue(getattr(request, "param", "pg15"))
