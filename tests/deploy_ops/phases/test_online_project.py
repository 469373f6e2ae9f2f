"""The online vocabulary in a project: whichever command migrates, on every kind of database."""

import pytest

from tests.sample_apps.written import WrittenApp

INITIAL = """
migrations.CreateModel("car", [("id", models.BigAutoField(primary_key=True))]),
migrations.CreateModel("trip", [
    ("id", models.BigAutoField(primary_key=True)),
    ("km", models.IntegerField(null=True)),
    ("purpose", models.CharField(max_length=20, null=True)),
]),
"""
CHANGE = """
AddIndexOnline("trip", models.Index(fields=["km"], name="trip_km")),
EnforceNotNull("trip", "purpose", models.CharField(max_length=20), fill=models.Value("none")),
EnforceUnique("trip", "km", models.IntegerField(null=True, unique=True)),
EnforceCheck("trip", models.CheckConstraint(condition=models.Q(km__gte=0), name="far")),
AddFieldOnline("trip", "note", models.CharField(max_length=20, default="x")),
AddFieldOnline("trip", "car", models.ForeignKey("shop.car", models.CASCADE, null=True,
    db_constraint=False)),
EnforceForeignKey("trip", "car", models.ForeignKey("shop.car", models.CASCADE, null=True)),
RemoveIndexOnline("trip", "trip_km"),
"""
ROWS = "INSERT INTO shop_trip (km, purpose) VALUES (1, NULL), (2, 'b')"


@pytest.fixture
def shop(project):
    app = WrittenApp(project.directory)
    app.migration("0001_initial", INITIAL)
    project.with_apps(app.name)
    project.env["APP_VERSION"] = "2"
    project.run("migrate", check=0)
    project.database.execute(ROWS)
    app.migration("0002_change", CHANGE, atomic=False)
    return app


def trips(database):
    return sorted(database.query("SELECT km, purpose, note, car_id FROM shop_trip"))


def waiting(database):
    rows = database.query("SELECT description FROM deploy_ops_contractrow WHERE done_at IS NULL")
    return sorted(text for (text,) in rows)


@pytest.mark.parametrize("command", ["migrate", "safe_migrate --no-backup"])
@pytest.mark.usefixtures("shop")
def test_forward_backward_forward(project, database, command):
    project.run(*command.split(), check=0)
    after = trips(database)
    assert after == [(1, "none", "x", None), (2, "b", "x", None)]
    project.run("migrate", "shop", "0001", check=0)
    assert sorted(database.schema()["shop_trip"]) == ["id", "km", "purpose"]
    project.run(*command.split(), check=0)
    assert trips(database) == after
    assert waiting(database) == []


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
@pytest.mark.usefixtures("shop")
def test_old_code_works_until_the_contract(project, database):
    project.settings(DEPLOY_OPS_TWO_PHASE=True)
    project.run("safe_migrate", "--no-backup", check=0)
    assert waiting(database) == ["Drop the default of note", "Drop the trigger that fills purpose"]
    database.execute("INSERT INTO shop_trip (km, purpose) VALUES (3, NULL)")
    assert trips(database)[-1] == (3, "none", "x", None)

    project.run("safe_migrate", "--phase", "contract", "--no-backup", "--force", check=0)
    assert waiting(database) == []
    assert database.query("SELECT count(*) FROM pg_proc WHERE proname LIKE 'deploy_ops%%'") == [
        (0,)
    ]
    assert database.query(
        "SELECT column_default FROM information_schema.columns WHERE column_name = 'note'"
    ) == [(None,)]


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
@pytest.mark.usefixtures("shop")
def test_an_expand_that_waits_is_taken_back_whole(project, database):
    before = database.schema()
    project.settings(DEPLOY_OPS_TWO_PHASE=True)
    project.run("migrate", check=0)
    project.run("migrate", "shop", "0001", check=0)
    assert waiting(database) == []
    assert database.schema() == before
    database.execute("INSERT INTO shop_trip (km, purpose) VALUES (1, NULL)")
    assert database.query("SELECT count(*) FROM pg_proc WHERE proname LIKE 'deploy_ops%%'") == [
        (0,)
    ]


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
@pytest.mark.usefixtures("shop")
def test_sqlmigrate_shows_all_of_it(project):
    sql = project.run("sqlmigrate", "shop", "0002", check=0).stdout
    assert 'CREATE INDEX CONCURRENTLY "trip_km" ON "shop_trip" ("km");' in sql
    assert "VALIDATE CONSTRAINT" in sql
    assert 'DROP INDEX CONCURRENTLY IF EXISTS "trip_km";' in sql


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_an_atomic_migration_is_refused(project, database, shop):
    shop.last = "0001_initial"
    shop.migration("0002_change", CHANGE, atomic=True)
    before = database.schema()
    result = project.run("migrate", "shop", "0002")
    assert result.code != 0 and "    atomic = False" in result.stderr
    assert database.schema() == before
