"""Projects that migrate otherwise than by Django's command are refused before anything is done."""

import environ
import pytest
from django.core.management import get_commands
from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from deploy_ops.databases.tenants import keeps_tenants
from deploy_ops.errors import OtherMigrate
from deploy_ops.migrate.other_migrate import modules_in_the_way, refuse_other_migrate
from tests.foreign.filters_output.management.commands.migrate import Command as Filtering

FOREIGN = "tests.foreign"
FILTERS = f"{FOREIGN}.filters_output.management.commands.migrate"
NOTES = """
    SELECT table_schema FROM information_schema.columns
    WHERE table_name = 'tenants_invoice' AND column_name = 'note' ORDER BY 1
"""


PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def tenants(project):
    """A project with three schemas, all of them at the first migration, and its second pending."""
    project.with_apps(f"{FOREIGN}.tenants")
    url = environ.Env.db_url_config(project.database.url)
    project.settings(DATABASES={"default": url | {"ENGINE": f"{FOREIGN}.tenants.backend"}})
    project.run("migrate", "tenants", "0001", check=0)
    project.run("migrate", "deploy_ops", check=0)
    return project


@PG15
def test_a_schema_for_each_tenant_is_refused_before_anything_is_done(tenants):
    run = tenants.run("safe_migrate", check=1)
    assert run.stderr == (
        "Database 'default' keeps a schema for each tenant (ENGINE tests.foreign.tenants.backend), "
        "and safe_migrate migrates one schema: the tenants' would lack what the new code needs, "
        "and no error would say so. Nothing was changed. Take a backup, which holds all schemas, "
        "and migrate with the command of the package that keeps them, most often migrate or "
        "migrate_schemas:\n    python manage.py backup\n    python manage.py migrate\n"
    )
    assert tenants.database.query(NOTES) == []
    assert [path.name for path in tenants.ops_dir.iterdir()] == ["backups"]
    for words in (["safe_migrate", "--plan"], ["contract", "run"], ["rollback", "--to", "v1"]):
        assert "keeps a schema for each tenant" in tenants.run(*words, check=1).stderr
    refused = tenants.json("predeploy", check=1)["findings"]
    assert {"deploy_ops.R001", "deploy_ops.C017"} <= {each["id"] for each in refused}
    told = tenants.json("doctor", check=1)["findings"]
    assert "deploy_ops.C017" in {each["id"] for each in told}
    assert "C017" in tenants.run("check", "--deploy", "--tag", "deploy_ops", check=1).stderr


@PG15
def test_what_helps_with_tenants_helps(tenants):
    """The advice: a backup, which holds all schemas, and the project's own command."""
    tenants.run("backup", check=0)
    tenants.run("migrate", check=0)
    assert tenants.database.query(NOTES) == [("north",), ("public",), ("south",)]


@PG15
def test_health_does_not_say_that_tenants_are_migrated(tenants):
    """What the shared schema lacks is a fact; that the others lack nothing is not known."""
    behind = tenants.json("health", check=1)
    assert list(behind["failing"]) == ["migrations"]
    tenants.run("migrate", check=0)
    report = tenants.json("health", check=0)
    assert "migrations" not in report["passed"]
    assert "keeps a schema for each tenant" in report["unknown"]["migrations"]
    assert "; not known: migrations: " in tenants.run("health", check=0).stdout


@SQLITE
def test_a_migrate_that_only_filters_its_output_is_declared(project):
    """Whether code of its own matters only a person who has read it can tell."""
    project.with_apps("good_expand", f"{FOREIGN}.filters_output")
    run = project.run("safe_migrate", check=1)
    assert f"`migrate` of this project runs code of {FILTERS}, and safe_migrate would" in run.stderr
    project.settings(DEPLOY_OPS_MIGRATE_WITHOUT=[FILTERS])
    project.run("safe_migrate", check=0)
    assert project.json("health", check=0)["unknown"] == {}


@SQLITE
def test_a_class_that_only_sets_data_is_not_in_the_way(project):
    project.with_apps("good_expand", f"{FOREIGN}.names_another_class")
    project.run("safe_migrate", check=0)


class Patched(MigrationExecutor):
    """In the place of Django's executor."""


def handle(self, *args, **options):
    """In the place of a method of Django's command."""


def test_code_in_the_way_is_found_whatever_way_it_came(monkeypatch, settings):
    assert modules_in_the_way() == []
    with monkeypatch.context() as patch:
        patch.setitem(get_commands(), "migrate", Filtering())
        assert modules_in_the_way() == [FILTERS]
    with monkeypatch.context() as patch:
        patch.setattr(migrate.Command, "handle", handle)
        assert modules_in_the_way() == [__name__]
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "MigrationExecutor", Patched)
        assert modules_in_the_way() == [__name__]
        settings.DEPLOY_OPS_MIGRATE_WITHOUT = [__name__]
        assert modules_in_the_way() == []


def test_a_command_that_cannot_be_loaded_is_in_the_way(monkeypatch):
    monkeypatch.setitem(get_commands(), "migrate", "no.such.app")
    with pytest.raises(OtherMigrate, match="code of no.such.app.management.commands.migrate"):
        refuse_other_migrate("default")


@pytest.mark.parametrize(
    "module",
    ["django_tenants.postgresql_backend.base", "django_pgschemas.postgresql.base", "shop.db.base"],
)
def test_a_backend_derived_from_one_with_tenants_keeps_them_too(module, monkeypatch):
    body = {"set_schema": handle} if module.startswith("shop") else {}
    theirs = type("DatabaseWrapper", (DatabaseWrapper,), body | {"__module__": module})
    ours = type("DatabaseWrapper", (theirs,), {"__module__": "project.measured.base"})
    monkeypatch.setattr(connections._connections, "measured", ours({}), raising=False)
    assert keeps_tenants("measured")


@pytest.mark.parametrize("module", ["django_prometheus.db.base", "django_multitenant.base"])
def test_a_backend_that_only_measures_keeps_no_tenants(module, monkeypatch):
    body = {"create_cursor": handle, "__module__": module}
    theirs = type("DatabaseWrapper", (DatabaseWrapper,), body)
    monkeypatch.setattr(connections._connections, "measured", theirs({}), raising=False)
    assert not keeps_tenants("measured")
