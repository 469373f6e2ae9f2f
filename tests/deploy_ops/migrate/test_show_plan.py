"""`safe_migrate --plan`: per operation when and why then, the strongest lock, how big, how long."""

import json

import pytest

from tests.sample_apps.written import deploy_first

INITIAL = """
migrations.CreateModel("trip", [
    ("id", models.BigAutoField(primary_key=True)),
    ("km", models.IntegerField(null=True)),
    ("note", models.CharField(max_length=20)),
    ("metres", models.IntegerField(null=True)),
]),
"""
OPERATIONS = """
migrations.AlterField("trip", "note", models.IntegerField()),
migrations.CreateModel("car", [("id", models.BigAutoField(primary_key=True))]),
AddIndexOnline("trip", models.Index(fields=["km"], name="by_km")),
EnforceNotNull("trip", "km", models.IntegerField(default=0)),
Contract(migrations.RemoveField("trip", "note")),
Contract(migrations.RunSQL("UPDATE shop_trip SET km = 1")),
Backfill("trip", "metres", models.F("km") * 1000, detached=True),
EnforceUnique("trip", "metres", models.IntegerField(null=True, unique=True)),
migrations.RunPython(lambda apps, editor: None),
migrations.RunSQL("DO 'BEGIN END'"),
"""


@pytest.fixture
def shop(postgresql_project):
    app = deploy_first(postgresql_project, INITIAL, "migrate")
    postgresql_project.database.execute(
        "INSERT INTO shop_trip (km, note) SELECT n, 'x' FROM generate_series(1, 20000) AS n"
    )
    postgresql_project.database.execute("ANALYZE shop_trip")
    app.migration("0002_change", OPERATIONS, atomic=False)
    return app


@pytest.mark.parametrize("postgresql_database", ["pg15"], indirect=True)
def test_each_operation_says_when_and_what_waits(postgresql_project, postgresql_database, shop):
    project, before = postgresql_project, postgresql_database.schema()
    (step,) = project.json("safe_migrate", "--plan", check=0)["plan"]
    assert step["seconds"] is None and step["seconds_from"] is None  # of code that is not read
    assert [
        (each["phase"], each["lock"], each["table"], each["rows"]) for each in step["outlook"]
    ] == [
        ("expand", "ACCESS EXCLUSIVE", "shop_trip", 20000),
        ("expand", "", None, None),
        ("expand", "SHARE UPDATE EXCLUSIVE", "shop_trip", 20000),
        ("expand", "ACCESS EXCLUSIVE", "shop_trip", 20000),
        ("expand", "ACCESS EXCLUSIVE", "shop_trip", 20000),
        ("contract", "", None, None),  # of no model
        ("expand", "ROW EXCLUSIVE", "shop_trip", 20000),
        ("contract", "", "shop_trip", 20000),
        ("expand", None, None, None),
        ("expand", None, None, None),
    ]
    rewrite, new, index, not_null, removal, *_ = step["outlook"]
    assert rewrite["seconds"] > 0 and rewrite["bytes"] > 1e6
    assert new["is_new"]
    assert index["seconds"] > 0 and index["why"] == "nobody waits for it"
    assert not_null["waits"] == "Drop the trigger that fills km"
    assert removal["why"] == "the release before still needs it"
    assert step["outlook"][7]["why"] == "a detached backfill fills it first"
    text = project.run("safe_migrate", "--plan", check=0).stdout
    assert "lock: unknown" in text
    assert "phase: expand, since nobody waits for it" in text
    assert "lock: SHARE UPDATE EXCLUSIVE on shop_trip (about 20000 rows, 1." in text
    assert postgresql_database.schema() == before


@pytest.mark.parametrize("postgresql_database", ["pg15"], indirect=True)
def test_a_rehearsal_wins_and_what_waits_is_seen(postgresql_project, postgresql_database, shop):
    project, shop.last = postgresql_project, "0001_initial"
    shop.migration(
        "0002_change",
        'AddFieldOnline("trip", "n", models.IntegerField(default=0)),\n'
        "Contract(migrations.RunPython(print, migrations.RunPython.noop)),",
        atomic=False,
    )
    (step,) = project.json("safe_migrate", "--plan", check=0)["plan"]
    assert step["seconds_from"] == "estimate" and step["seconds"] == 0
    project.run("safe_migrate", "--rehearse", check=0)
    waiting = project.json("safe_migrate", "--plan", "--phase", "contract", check=0)["plan"]
    assert [(each["outlook"][0]["phase"], each["outlook"][0]["lock"]) for each in waiting] == [
        ("contract", "ACCESS EXCLUSIVE"),
        ("contract", None),
    ]
    assert waiting[0]["outlook"][0]["why"].startswith("it waits since release ")
    project.run("migrate", "shop", "0001", check=0)
    (step,) = project.json("safe_migrate", "--plan", check=0)["plan"]
    assert step["seconds_from"] == "rehearsal" and step["seconds"] > 0
    assert [each["table"] for each in step["held"]] in (["shop_trip"], [])
    assert step["rehearsed"].startswith(f"{step['seconds']:.3f} s")


def test_a_plan_without_anything_to_do_does_not_load_the_lint(sqlite_project):
    project = sqlite_project
    project.run("migrate", check=0)
    code = (
        "import sys; from django.core.management import call_command;"
        "call_command('safe_migrate', '--plan', '--format', 'json');"
        "assert 'deploy_ops.migrate.lint.judge' not in sys.modules;"
        "assert 'deploy_ops.migrate.outlook' not in sys.modules"
    )
    told = project.run("shell", "--no-imports", "-c", code, check=0)
    assert json.loads(told.stdout)["plan"] == []


EVERY_KIND = """
AddFieldOnline("trip", "a", models.IntegerField(default=5)),
Backfill("trip", "a", models.F("km")),
EnforceNotNull("trip", "metres", models.IntegerField(default=0)),
EnforceCheck("trip", models.CheckConstraint(condition=models.Q(km__gte=0), name="long")),
EnforceUnique("trip", models.UniqueConstraint(fields=["a"], name="one")),
AddIndexOnline("trip", models.Index(fields=["km"], name="by_km")),
RenameFieldOnline("trip", "note", "remark"),
ChangeTypeOnline("trip", "km", models.BigIntegerField(null=True)),
Contract(migrations.RemoveField("trip", "a")),
Contract(migrations.RunPython(migrations.RunPython.noop)),
"""


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_every_operation_is_shown_on_every_database(project, database):
    app = deploy_first(project, INITIAL, "migrate")
    app.migration("0002_every_kind", EVERY_KIND, atomic=False)
    before = database.schema() if database.vendor == "postgresql" else None
    [step] = project.json("safe_migrate", "--plan", check=0)["plan"]
    assert len(step["outlook"]) == 10
    assert all(each["operation"] and each["phase"] for each in step["outlook"])
    if before:
        assert database.schema() == before
