"""Readiness in a project of several databases."""

import time

import pytest
from django.db import connections
from django.test import Client

from deploy_ops.health import readiness
from deploy_ops.health.connections import DjangoConnection, connection_to
from deploy_ops.health.probe import outcomes
from deploy_ops.health.readiness import make_probes, pending_migrations
from tests.clusters import free_port
from tests.deploy_ops.health.serving import black_hole

TRIPS = (("trips", "0001_initial"), [])
REPORTS = (("reports", "0001_initial"), [])
MIGRATIONS_TABLE = "CREATE TABLE django_migrations (app varchar(99), name varchar(99))"
APPLIED = "INSERT INTO django_migrations VALUES (%s, %s)"
OF_A_COMMAND = ("Nothing was changed", "manage.py", "DATABASES")
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
each_database = pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)


class OnlyReports:
    """Keeps everything but one app out of all databases but the default one."""

    def allow_migrate(self, db, app_label, **hints):
        return db == "default" or app_label == "reports"


class OnlyUsers:
    """Lets one model of one app in, as a router by models does."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return (app_label, model_name) == ("auth", "user")


@pytest.fixture
def aliases(monkeypatch, django_db_blocker):
    """Add databases to DATABASES until the end of the test."""
    added = []

    def add(**urls):
        for alias, given in urls.items():
            configured = connections.configure_settings({"default": {}, alias: given})[alias]
            monkeypatch.setitem(connections.databases, alias, configured)
            added.append(alias)

    with django_db_blocker.unblock():
        yield add
    for alias in added:
        for purpose in ("ping", "migrations"):
            connection_to.__globals__["_connections"].pop((alias, purpose), None)
        if hasattr(connections._connections, alias):
            del connections[alias]


@pytest.fixture
def forgotten(django_alias):
    """An alias whose connections go with the test: the next one is of another database."""
    yield django_alias
    for purpose in ("ping", "migrations"):
        connection_to.__globals__["_connections"].pop((django_alias, purpose), None)


@pytest.fixture
def code(monkeypatch):
    def has(*migrations):
        monkeypatch.setattr(readiness, "_migrations_of_the_code", lambda: list(migrations))

    return has


def ready(settings, *checks):
    settings.DEPLOY_OPS_READINESS_CHECKS = list(checks)
    return Client().get("/health/ready/")


def reasons(*aliases):
    return {name: each.reason for name, each in outcomes(make_probes(aliases)).items()}


@on_sqlite
def test_every_database_of_the_project_has_to_answer(database, forgotten, settings):
    response = ready(settings, "database")
    assert (response.status_code, response.json()["failing"]) == (503, ["database"])
    assert forgotten not in response.content.decode(), "an alias is no news for outsiders"
    assert list(readiness.readiness_probes()) == ["database", f"database:{forgotten}"]
    settings.DEPLOY_OPS_READINESS_DATABASES = ["default"]
    assert ready(settings, "database").json()["checks"] == {"database": "ok"}


@on_sqlite
def test_answer_names_each_check_once(database, forgotten, settings, code, monkeypatch):
    code(TRIPS)
    monkeypatch.setattr(readiness, "_applied", lambda alias: {("trips", "0001_initial")})
    database.execute(MIGRATIONS_TABLE)
    response = ready(settings, "database", "migrations")
    assert response.json()["checks"] == {"database": "ok", "migrations": "ok"}


@each_database
def test_migrations_of_each_database(database, forgotten, settings, code):
    code(TRIPS, REPORTS)
    settings.DEPLOY_OPS_READINESS_CHECKS = ["migrations"]
    database.execute("CREATE TABLE legacy (id integer)")
    assert "django_migrations" in reasons(forgotten)[f"migrations:{forgotten}"]
    database.execute(MIGRATIONS_TABLE)
    database.execute(APPLIED, ("trips", "0001_initial"))
    assert reasons(forgotten) == {
        f"migrations:{forgotten}": "reports.0001_initial not applied",
    }
    settings.DATABASE_ROUTERS = [f"{__name__}.OnlyReports"]
    assert pending_migrations(forgotten) == ["reports.0001_initial"]
    database.execute(APPLIED, ("reports", "0001_initial"))
    assert reasons(forgotten) == {f"migrations:{forgotten}": ""}


@on_sqlite
def test_database_into_which_no_app_migrates_needs_no_table_of_migrations(
    database, forgotten, settings, code
):
    database.execute("CREATE TABLE legacy (id integer)")
    settings.DATABASE_ROUTERS = [f"{__name__}.OnlyReports"]
    settings.DEPLOY_OPS_READINESS_CHECKS = ["database", "migrations"]
    code(TRIPS)
    assert set(reasons(forgotten).values()) == {""}
    assert pending_migrations(forgotten) == []


@on_sqlite
def test_app_of_which_one_model_is_let_in_counts(database, forgotten, settings, code):
    settings.DATABASE_ROUTERS = [f"{__name__}.OnlyUsers"]
    code((("auth", "0001_initial"), []), (("contenttypes", "0001_initial"), []), TRIPS)
    database.execute(MIGRATIONS_TABLE)
    assert pending_migrations(forgotten) == ["auth.0001_initial"]


def test_several_databases_that_hang_take_no_longer_than_one(settings, aliases):
    with black_hole() as port:
        hangs = {"ENGINE": "django.db.backends.postgresql", "NAME": "trips", "HOST": "127.0.0.1"}
        aliases(**{name: {**hangs, "PORT": str(port)} for name in ("erp", "crm", "logs")})
        for limit in (2.0, 0.7):  # and the next one goes by what is known
            started = time.monotonic()
            response = ready(settings, "database", "migrations", "cache")
            assert time.monotonic() - started < limit
            assert (response.status_code, response.json()["failing"]) == (
                503,
                ["database", "migrations"],
            )
        started = time.monotonic()
        assert Client().get("/health/db/").status_code == 200
        assert time.monotonic() - started < 1.0


def test_reasons_are_facts_and_no_advice_of_a_command(settings, aliases, tmp_path):
    (tmp_path / "no_database").write_bytes(b"nothing that SQLite wrote" * 100)
    sqlite, postgresql = "django.db.backends.sqlite3", "django.db.backends.postgresql"
    refused = {"ENGINE": postgresql, "NAME": "t", "HOST": "127.0.0.1", "PORT": str(free_port())}
    shapes = {
        "refused": refused,
        "no_service": {"ENGINE": postgresql, "OPTIONS": {"service": "nowhere"}},
        "odd_option": {**refused, "OPTIONS": {"sslmode": "nonsense"}},
        "gone": {"ENGINE": sqlite, "NAME": str(tmp_path / "gone")},
        "damaged": {"ENGINE": sqlite, "NAME": str(tmp_path / "no_database")},
        "other": {"ENGINE": "django.db.backends.dummy"},
    }
    aliases(**shapes)
    settings.DEPLOY_OPS_READINESS_CHECKS = ["database", "migrations"]
    found = reasons(*shapes)
    assert len(found) == 2 * len(shapes) and all(found.values())
    told = {name: reason for name, reason in found.items() if ":other" not in name}
    assert [
        reason for reason in told.values() if any(each in reason for each in OF_A_COMMAND)
    ] == []
    assert "cannot be reached as" in found["database:refused"]


def test_kind_of_database_that_only_django_knows(settings, aliases, tmp_path, code):
    engine = "tests.deploy_ops.health.other_engine"
    aliases(erp={"ENGINE": engine, "NAME": str(tmp_path / "erp.sqlite3")})
    settings.DEPLOY_OPS_READINESS_CHECKS = ["database", "migrations"]
    code((("contenttypes", "0001_initial"), []))
    assert isinstance(connection_to("erp", "ping"), DjangoConnection)
    found = reasons("erp")
    assert found["database:erp"] == "" and "django_migrations" in found["migrations:erp"]
    connection = DjangoConnection("erp")
    with connections["erp"].cursor() as cursor:
        cursor.execute(MIGRATIONS_TABLE)
        for name in ("0001_initial", "0099_of_newer_code"):
            cursor.execute(APPLIED, ("contenttypes", name))
    assert len(connection.rows("SELECT app FROM django_migrations")) == 2
    assert "django_content_type.app_label and 2 more is missing" in reasons("erp")["migrations:erp"]
    with connections["erp"].cursor() as cursor:
        cursor.execute("CREATE TABLE django_content_type (id int, app_label text, model text)")
    assert reasons("erp") == {"database:erp": "", "migrations:erp": ""}


@pytest.mark.parametrize("given", [["nowhere"], "default", [["default"]]])
def test_c003_databases_that_are_not_there(findings, settings, given):
    settings.DEPLOY_OPS_READINESS_DATABASES = given
    assert "DEPLOY_OPS_READINESS_DATABASES" in findings()["C003"].msg


@on_sqlite
def test_command_asks_all_databases_or_the_one_that_is_named(project):
    path = str(project.directory / "archive.sqlite3")
    default = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(project.database.path)}
    project.settings(DATABASES={"default": default, "archive": {**default, "NAME": path}})
    project.run("migrate", check=0)
    told = project.run("health", check=1).stdout
    assert "database:archive: unable to open database file" in told and "database: " not in told
    assert "database:archive" not in project.run("health", "--database", "default", check=0).stdout
    project.run("migrate", "--database", "archive", check=0)
    assert project.json("health", check=0)["passed"] == [
        "database",
        "database:archive",
        "migrations",
        "migrations:archive",
        "cache",
    ]
