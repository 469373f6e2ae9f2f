"""safe_migrate --rehearse: the plan runs on the restored backup before the live database."""

import pytest

from tests.sample_apps.written import WrittenApp

TABLE = """
migrations.CreateModel("trip", [
    ("id", models.BigAutoField(primary_key=True)),
    ("km", models.IntegerField(null=True)),
    ("purpose", models.TextField(default="")),
]),
"""
ROWS = "INSERT INTO shop_trip (km, purpose) SELECT n, 'x' || n FROM generate_series(1, %s) AS n"
on_pg15 = pytest.mark.parametrize("postgresql_database", ["pg15"], indirect=True)


@pytest.fixture
def shop(postgresql_project):
    app = WrittenApp(postgresql_project.directory)
    app.migration("0001_initial", TABLE)
    postgresql_project.with_apps(app.name)
    postgresql_project.run("migrate", check=0)
    return app


def scratch_databases(database):
    return [name for name in database.databases() if "verify" in name]


def test_a_plan_is_rehearsed_there_and_back(postgresql_project, postgresql_database, shop):
    postgresql_database.execute(ROWS, [50_000])
    shop.migration("0002_longer", 'migrations.AlterField("trip", "km", models.BigIntegerField()),')
    result = postgresql_project.json("safe_migrate", "--rehearse", check=0)
    there, back, again = result["rehearsal"]["steps"]
    assert (there["backwards"], back["backwards"], again["backwards"]) == (False, True, False)
    (held,) = [each for each in there["held"] if each["table"] == "shop_trip"]
    assert held["mode"] == "AccessExclusiveLock"
    assert 0 < held["seconds"] < 60
    assert there["rewritten_bytes"] > 1_000_000
    assert there["scanned_bytes"] > 1_000_000
    assert any("ALTER TABLE" in each["sql"] for each in there["statements"])
    assert scratch_databases(postgresql_database) == []


@on_pg15
def test_what_fails_on_real_rows_fails_before_they_are_touched(
    postgresql_project, postgresql_database, shop
):
    postgresql_database.execute("INSERT INTO shop_trip (km, purpose) VALUES (NULL, '')")
    before = postgresql_database.schema()
    shop.migration("0002_full", 'migrations.AlterField("trip", "km", models.IntegerField()),')
    result = postgresql_project.run("safe_migrate", "--rehearse", check=1)
    assert "shop.0002_full fails on the data of backup" in result.stderr
    assert f"No migration was run on database {postgresql_database.name}." in result.stderr
    assert postgresql_database.schema() == before
    assert scratch_databases(postgresql_database) == []
    applied = "SELECT name FROM django_migrations WHERE app = 'shop'"
    assert postgresql_database.query(applied) == [("0001_initial",)]
    shop.remove("0002_full")
    postgresql_project.run("safe_migrate", check=0)  # nothing is left to resolve


@on_pg15
def test_a_lock_that_is_held_for_long_is_refused(postgresql_project, postgresql_database, shop):
    postgresql_database.execute(ROWS, [10])
    shop.migration(
        "0002_slow", 'migrations.RunSQL("LOCK TABLE shop_trip; SELECT pg_sleep(1)", ""),'
    )
    result = postgresql_project.run("safe_migrate", "--rehearse", check=1)
    assert "All reads and writes of shop_trip would wait 1." in result.stderr
    postgresql_project.settings(DEPLOY_OPS_MAX_BLOCKING=3)
    postgresql_project.run("safe_migrate", "--rehearse", check=0)
    postgresql_project.run("migrate", "shop", "0001", check=0)
    plan = postgresql_project.run("safe_migrate", "--plan", check=0).stdout
    assert "rehearsed: 1." in plan
    assert "reads and writes of shop_trip wait 1" in plan


@on_pg15
def test_code_with_connections_of_its_own_does_not_touch_the_live_database(
    postgresql_project, postgresql_database, shop
):
    operation = """
    migrations.RunPython(lambda apps, editor: insert()),
    ]

def insert():
    from django.db import connections
    own = connections["default"].copy()
    with own.cursor() as cursor:
        cursor.execute("INSERT INTO shop_trip (km, purpose) VALUES (1, current_database())")
    own.close()
    raise ValueError("later")

_ = [
    """
    shop.migration("0002_code", operation)
    postgresql_project.run("safe_migrate", "--rehearse", check=1)
    assert postgresql_database.query("SELECT * FROM shop_trip") == []


@pytest.mark.parametrize(
    ("argv", "why"), [(["--no-backup"], "--no-backup takes none")], ids=["no-backup"]
)
def test_what_makes_no_sense_is_refused(postgresql_project, shop, argv, why):
    assert why in postgresql_project.run("safe_migrate", "--rehearse", *argv, check=2).stderr


def test_sqlite_has_nothing_to_rehearse(sqlite_project):
    assert "is SQLite" in sqlite_project.run("safe_migrate", "--rehearse", check=2).stderr
