"""One database with rows for all samples and rules."""

from urllib.parse import urlsplit

import environ
import pytest
from django.db import connections
from django.db.migrations.state import ProjectState

from deploy_ops.databases import database_for
from tests.deploy_ops.migrate.lint.server import Watch
from tests.deploy_ops.migrate.lint.world import APP, ROWS_OF, models_of_the_world

ALIAS = "oracle"


@pytest.fixture(scope="package", params=["pg15", "pg18"])
def watch(request, django_db_blocker):
    """One database with the world in it; the samples are rolled back."""
    cluster = request.getfixturevalue(f"{request.param}_cluster")
    url = cluster.create_database()
    settings = {"default": {}, ALIAS: environ.Env.db_url_config(url)}
    connections.databases[ALIAS] = connections.configure_settings(settings)[ALIAS]
    with django_db_blocker.unblock():
        try:
            yield prepared(Watch(ALIAS))
        finally:
            connections[ALIAS].close()
            del connections[ALIAS], connections.databases[ALIAS]
            cluster.drop_databases(urlsplit(url).path.removeprefix("/"))


def prepared(watch: Watch) -> Watch:
    watch.state = ProjectState()
    with watch.connection.schema_editor() as editor:
        for operation in models_of_the_world():
            before = watch.state.clone()
            operation.state_forwards(APP, watch.state)
            operation.database_forwards(APP, editor, before, watch.state)
    with watch.connection.cursor() as cursor:
        cursor.execute(ROWS_OF)
    watch.facts = database_for(ALIAS).facts()
    return watch
