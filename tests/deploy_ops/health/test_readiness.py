"""What an instance has to pass before it is sent requests."""

import dataclasses
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.core.cache import caches
from django.test import Client

from deploy_ops.errors import HealthCheckFailed
from deploy_ops.health import draining, readiness, schema_ahead
from deploy_ops.health.probe import outcomes
from deploy_ops.health.readiness import make_probes, pending_migrations, readiness_probes

DUMMY = "django.core.cache.backends.dummy.DummyCache"
NOWHERE = "django.core.cache.backends.filebased.FileBasedCache"
each_database = pytest.mark.parametrize("database", ["sqlite", "pg15", "pg18"], indirect=True)


@dataclasses.dataclass
class Slow:
    """As django-health-check has them: a dataclass with `run` and a time-out of its own."""

    seconds: float = 5.0
    timeout = timedelta(seconds=0.2)

    def run(self):
        time.sleep(self.seconds)


class AsyncBroken:
    async def run(self):
        raise HealthCheckFailed("geheim.example.org refused anna")


def passes():
    """A check may be a plain function."""


def here(name):
    return f"{__name__}.{name}"


@pytest.fixture
def ready(settings, tmp_path):
    """Ask /health/ready/ with these checks."""
    settings.DEPLOY_OPS_DRAIN_FILE = tmp_path / "drain"

    def ask(*checks):
        settings.DEPLOY_OPS_READINESS_CHECKS = list(checks)
        return Client().get("/health/ready/")

    return ask


@pytest.fixture
def code(monkeypatch):
    """Pretend that the code has these migrations."""

    def has(*migrations):
        monkeypatch.setattr(readiness, "_migrations_of_the_code", lambda: list(migrations))

    return has


@each_database
def test_migrations_of_the_code_that_the_database_lacks(database, django_alias, code):
    database.execute("CREATE TABLE django_migrations (app varchar(99), name varchar(99))")
    code((("trips", "0001_initial"), []), (("trips", "0002_note"), []))
    assert pending_migrations(django_alias) == ["trips.0001_initial", "trips.0002_note"]
    database.execute("INSERT INTO django_migrations VALUES ('trips', '0001_initial')")
    assert pending_migrations(django_alias) == ["trips.0002_note"]
    with pytest.raises(HealthCheckFailed, match="trips.0002_note not applied"):
        readiness.require_migrations(django_alias)
    database.execute("INSERT INTO django_migrations VALUES ('trips', '0002_note')")
    assert pending_migrations(django_alias) == []
    assert readiness.require_migrations(django_alias) == ""
    _end_session(django_alias)


@each_database
def test_squashed_migration_counts_where_all_that_it_replaces_is_applied(
    database, django_alias, code
):
    database.execute("CREATE TABLE django_migrations (app varchar(99), name varchar(99))")
    replaced = [("trips", "0001_initial"), ("trips", "0002_note")]
    code((("trips", "0001_squashed"), replaced))
    database.execute("INSERT INTO django_migrations VALUES ('trips', '0001_initial')")
    assert pending_migrations(django_alias) == ["trips.0001_squashed"]
    database.execute("INSERT INTO django_migrations VALUES ('trips', '0002_note')")
    assert pending_migrations(django_alias) == []
    _end_session(django_alias)


@each_database
def test_a_schema_ahead_of_the_code_is_said_and_fails_only_where_something_is_missing(
    database, django_alias, code
):
    database.execute("CREATE TABLE django_migrations (app varchar(99), name varchar(99))")
    code((("reisekosten", "0001_initial"), []))
    for name in ("0001_initial", "0099_of_newer_code"):
        database.execute("INSERT INTO django_migrations VALUES ('reisekosten', %s)", (name,))
    with pytest.raises(HealthCheckFailed, match=r"0099_of_newer_code applied, .* missing"):
        readiness.require_migrations(django_alias)
    for table, columns in tables_of_trips():
        database.execute(f'CREATE TABLE "{table}" ({columns})')
    assert readiness.require_migrations(django_alias) == (
        "reisekosten.0099_of_newer_code applied, which this code does not have; all tables and "
        "columns that it uses are there"
    )
    database.execute("ALTER TABLE reisekosten_fahrt RENAME COLUMN von TO ab")
    with pytest.raises(HealthCheckFailed, match="and reisekosten_fahrt.von is missing, which"):
        readiness.require_migrations(django_alias)
    _end_session(django_alias)


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_tables_that_only_another_search_path_finds_are_not_called_missing(
    database, django_alias, code
):
    database.execute("CREATE TABLE django_migrations (app varchar(99), name varchar(99))")
    code((("reisekosten", "0001_initial"), []))
    for name in ("0001_initial", "0099_of_newer_code"):
        database.execute("INSERT INTO django_migrations VALUES ('reisekosten', %s)", (name,))
    database.execute("CREATE SCHEMA tenant")
    for table, columns in tables_of_trips():
        database.execute(f'CREATE TABLE tenant."{table}" ({columns})')
    assert "0099_of_newer_code applied" in readiness.require_migrations(django_alias)
    _end_session(django_alias)


def tables_of_trips():
    for model in apps.get_app_config("reisekosten").get_models(include_auto_created=True):
        fields = model._meta.local_concrete_fields
        yield model._meta.db_table, ", ".join(f'"{each.column}" int' for each in fields)


def _end_session(alias):
    """The connection of an alias lives as long as the process; the next alias is another one."""
    readiness.connection_to.__globals__["_connections"].pop((alias, "migrations"))
    schema_ahead._needed.cache_clear()


@pytest.mark.django_db
def test_migrations_of_this_project_are_found():
    names = {key for key, _ in readiness._migrations_of_the_code()}
    assert ("reisekosten", "0001_initial") in names and ("auth", "0001_initial") in names


def test_cache_that_forgets(settings):
    settings.CACHES = {"default": {"BACKEND": NOWHERE, "LOCATION": "/proc/nowhere"}}
    with pytest.raises(OSError):
        readiness.require_cache()
    settings.CACHES = {"default": {"BACKEND": DUMMY}}
    readiness.require_cache()
    settings.CACHES = {"default": {"BACKEND": here("Forgetful")}}
    with pytest.raises(HealthCheckFailed, match="does not keep"):
        readiness.require_cache()


class Forgetful(type(caches["default"])):
    """memcached without a server: it takes everything and has nothing."""

    def get(self, key, default=None, version=None):
        return default


def test_storage_is_written_and_left_clean(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"
    readiness.require_storage()
    assert list(settings.MEDIA_ROOT.iterdir()) == []


def test_storage_that_cannot_be_written(ready, settings, tmp_path):
    (tmp_path / "file").touch()
    settings.MEDIA_ROOT = tmp_path / "file" / "media"
    response = ready("storage", here("passes"))
    assert (response.status_code, response.json()["failing"]) == (503, ["storage"])
    assert str(tmp_path) not in response.content.decode()


def test_answer_names_what_fails_and_not_why(ready):
    response = ready(here("passes"), here("AsyncBroken"))
    assert response.status_code == 503
    assert set(response.json()) == {"status", "version", "failing"}
    assert response.json()["failing"] == ["asyncbroken"]
    assert b"geheim" not in response.content and b"anna" not in response.content


def test_each_check_has_its_own_deadline(ready):
    started = time.monotonic()
    response = ready(here("passes"), (here("Slow"), {"seconds": 5}), (here("Slow"), {"seconds": 0}))
    assert time.monotonic() - started < 1.0
    assert response.json()["failing"] == ["slow"]
    response = ready(here("passes"), (here("Slow"), {"seconds": 0}), (here("Slow"), {"seconds": 0}))
    assert response.json()["checks"] == {"passes": "ok", "slow": "ok", "slow_2": "ok"}


def test_no_check_may_take_longer_than_the_answer(settings):
    class Patient(Slow):
        timeout = timedelta(seconds=60)

    settings.DEPLOY_OPS_READINESS_CHECKS = [(Patient, {"seconds": 3})]
    started = time.monotonic()
    [outcome] = outcomes(make_probes(["default"])).values()
    assert outcome.reason == "no answer within 1.5 s" and time.monotonic() - started < 2.0


def test_checks_of_django_health_check(ready, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    response = ready(
        "health_check.checks.Cache",
        ("health_check.checks.Storage", {"alias": "default"}),
        ("health_check.checks.DNS", {"hostname": "nowhere.invalid"}),
    )
    assert (response.status_code, response.json()["failing"]) == (503, ["dns"])
    response = ready("health_check.checks.Cache", "health_check.checks.Storage")
    assert response.json()["checks"] == {"cache": "ok", "storage": "ok"}


def test_foreign_check_with_the_name_of_a_built_in_one_is_run_itself(ready):
    """django-health-check has a Database, too, and it may be about another one."""
    absent = ("health_check.checks.Database", {"alias": "nowhere"})
    assert ready(absent).json()["failing"] == ["database"]
    assert ready(absent, "database").json()["failing"] == ["database_2"]


def test_only_our_own_checks_are_kept_for_long(settings):
    settings.DEPLOY_OPS_READINESS_CHECKS = ["health_check.checks.Storage", "storage"]
    kept = {name: probe._keep for name, probe in make_probes(["default"]).items()}
    assert kept == {"storage": timedelta(seconds=30), "storage_2": timedelta(seconds=1)}


def test_probes_are_made_once_and_anew_when_the_setting_changes(settings):
    settings.DEPLOY_OPS_READINESS_CHECKS = [here("passes")]
    assert readiness_probes() is readiness_probes()
    assert list(readiness_probes()) == ["passes"]
    settings.DEPLOY_OPS_READINESS_CHECKS = ["database"]
    assert dict(readiness_probes()) == {"database": readiness.DATABASE}


def test_drain_file(ready, settings):
    assert ready(here("passes")).status_code == 200
    Path(settings.DEPLOY_OPS_DRAIN_FILE).touch()
    response = ready(here("passes"))
    assert (response.status_code, response.json()["failing"]) == (503, ["draining"])
    assert Client().get("/health/").status_code == 200
    assert Client().get("/health/db/").status_code in (200, 503)
    Path(settings.DEPLOY_OPS_DRAIN_FILE).unlink()
    assert ready(here("passes")).status_code == 200


def test_drain_file_that_may_not_be_seen_is_none(settings, monkeypatch):
    settings.DEPLOY_OPS_DRAIN_FILE = "/proc/1/root/forbidden/drain"
    assert not draining.is_draining()


def test_told_to_drain(ready, monkeypatch):
    monkeypatch.setattr(draining, "_flag", bytearray(1))
    draining.start_draining()
    assert ready(here("passes")).json()["failing"] == ["draining"]
