"""Oracle: what lint says about a migration is what the server does when it runs."""

import environ
import pytest
from django.db import connections, migrations
from django.db.migrations.state import ProjectState

from deploy_ops.databases import database_for
from deploy_ops.migrate.lint.judge import Judge
from deploy_ops.migrate.lint.scene import World
from deploy_ops.migrate.lint.source import Source
from deploy_ops.migrate.lint.walk import walk
from tests.deploy_ops.migrate.lint.samples import SAMPLES
from tests.deploy_ops.migrate.lint.server import Deeds, Watch
from tests.deploy_ops.migrate.lint.world import APP, ROWS_OF, models_of_the_world

ALIAS = "oracle"


@pytest.fixture(scope="module", params=["pg15", "pg18"])
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
            cluster.drop_databases(
                url.partition("/trips")[1][1:] + url.partition("/trips")[2].partition("?")[0]
            )


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


def migration_of(operations) -> migrations.Migration:
    migration = migrations.Migration("0002_sample", APP)
    migration.operations = operations
    return migration


def done(watch: Watch, migration) -> Deeds:
    """Run it, and look what the server did."""
    deeds, state = Deeds(), watch.state.clone()
    with watch.rolled_back(deeds):
        with watch.connection.schema_editor(atomic=True) as editor:
            migration.apply(state, editor)
    return deeds


def said(watch: Watch, migration) -> Deeds:
    """What lint takes it for."""
    deeds, world = Deeds(), World(watch.facts)
    for deed in walk(migration, watch.state.clone(), watch.connection, world, Source()):
        for impact in deed.impacts:
            if impact.table not in world.created:
                table = world.origin(impact.table)
                deeds.add_lock(table, impact.lock)
                if not world.is_free(impact.table):
                    deeds.add_work(table, impact.work)
    return deeds


@pytest.mark.parametrize("name", SAMPLES)
def test_lint_says_what_the_server_does(watch, name):
    ids, operations = SAMPLES[name]
    really = done(watch, migration_of(operations))
    empty = {"reise_leer"}
    for table in empty & really.works.keys():
        del really.works[table]  # it has no rows, so the work is none
    assert said(watch, migration_of(operations)).plain() == really.plain()
    judge = Judge(alias=ALIAS, facts=watch.facts)
    findings = judge.plan([migration_of(operations)], watch.state)
    assert sorted({finding.rule for finding in findings}) == ids.split()
