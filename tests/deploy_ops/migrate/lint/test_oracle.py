"""Oracle: what lint says about a migration is what the server does when it runs."""

import pytest
from django.db import migrations

from deploy_ops.migrate.lint.judge import Judge
from deploy_ops.migrate.lint.scene import World
from deploy_ops.migrate.lint.source import Source
from deploy_ops.migrate.lint.walk import walk
from tests.deploy_ops.migrate.lint.samples import SAMPLES
from tests.deploy_ops.migrate.lint.conftest import ALIAS
from tests.deploy_ops.migrate.lint.server import Deeds, Watch
from tests.deploy_ops.migrate.lint.world import APP


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


def compare(watch: Watch, name: str) -> None:
    ids, operations = SAMPLES[name]
    really = done(watch, migration_of(operations))
    empty = {"reise_leer"}
    for table in empty & really.works.keys():
        del really.works[table]  # it has no rows, so the work is none
    assert said(watch, migration_of(operations)).plain() == really.plain()
    judge = Judge(alias=ALIAS, facts=watch.facts)
    findings = judge.plan([migration_of(operations)], watch.state)
    assert sorted({finding.rule for finding in findings}) == ids.split()


@pytest.mark.parametrize("watch", ["pg15"], indirect=True, scope="package")
@pytest.mark.parametrize("name", SAMPLES)
def test_lint_says_what_the_server_does(watch, name):
    compare(watch, name)


@pytest.mark.parametrize("watch", ["pg18"], indirect=True, scope="package")
@pytest.mark.parametrize("name", sorted(SAMPLES)[::3])
def test_lint_says_what_a_newer_server_does(watch, name):
    compare(watch, name)
