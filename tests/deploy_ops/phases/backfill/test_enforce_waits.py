"""What is enforced on a column waits for the detached backfill that fills it, never half-way."""

import pytest

from tests.sample_apps.written import WrittenApp

INITIAL = """
migrations.CreateModel("order", [
    ("id", models.BigAutoField(primary_key=True)),
    ("km", models.IntegerField()),
    ("metres", models.IntegerField(null=True)),
    ("number", models.IntegerField(null=True)),
]),
"""
FILL = """
Backfill("order", "metres", models.F("km") * 1000, detached=True),
Backfill("order", "number", models.F("id"), detached=True),
"""
ENFORCE = """
EnforceNotNull("order", "metres", models.IntegerField()),
EnforceCheck("order", models.CheckConstraint(condition=models.Q(metres__gt=0), name="far")),
EnforceUnique("order", "number", models.IntegerField(null=True, unique=True)),
EnforceCheck("order", models.CheckConstraint(condition=models.Q(km__gt=0), name="somewhere")),
"""
CONSTRAINTS = """
    SELECT conname FROM pg_constraint WHERE conrelid = 'shop_order'::regclass AND contype IN ('c', 'u')
"""
IS_NULLABLE = (
    "SELECT is_nullable FROM information_schema.columns"
    " WHERE table_name = 'shop_order' AND column_name = 'metres'"
)


@pytest.fixture
def shop(project):
    app = WrittenApp(project.directory)
    app.migration("0001_initial", INITIAL)
    project.with_apps(app.name)
    project.run("safe_migrate", "--no-backup", check=0)
    project.database.execute("INSERT INTO shop_order (km) SELECT generate_series(1, 100)")
    app.migration("0002_fill", FILL, atomic=False)
    app.migration("0003_enforce", ENFORCE, atomic=False)
    return app


def test_one_plan_fills_and_enforces(project, database, shop):
    project.settings(DEPLOY_OPS_TWO_PHASE=True)
    before = database.schema()
    told = project.run("safe_migrate", "--no-backup", check=0).stdout
    assert "(online) waits until the backfill shop.0002_fill#0 is done" in told
    assert database.query(CONSTRAINTS) == [("somewhere",)]
    database.execute("INSERT INTO shop_order (km) VALUES (101)")  # as before
    database.execute("DELETE FROM shop_order WHERE km = 101")
    listed = project.json("contract", "list", check=0)["waiting"]
    assert [(each["operation"], each["waits_for"]) for each in listed] == [
        ("shop.0003_enforce#0", "shop.0002_fill#0"),
        ("shop.0003_enforce#1", "shop.0002_fill#0"),
        ("shop.0003_enforce#2", "shop.0002_fill#1"),
    ]
    project.run("safe_migrate", "shop", "0002", "--no-backup", check=0)
    assert database.schema() == before
    assert project.json("contract", "list", check=0)["waiting"] == []
    project.run("safe_migrate", "--no-backup", check=0)

    contract = ("contract", "run", "--force", "--no-backup")
    project.run("backfill", "run", "shop.0002_fill#1", check=0)
    told = project.run(*contract, check=0).stdout
    assert "shop.0003_enforce#0 still waits: the backfill shop.0002_fill#0" in told
    assert "backfill run 'shop.0002_fill#0'" in told
    assert len(database.query(CONSTRAINTS)) == 2

    project.run("backfill", "run", check=0)
    project.run(*contract, check=0)
    assert database.query(IS_NULLABLE) == [("NO",)]
    assert len(database.query(CONSTRAINTS)) == 3
    assert project.json("contract", "list", check=0)["waiting"] == []
    project.run("safe_migrate", "shop", "0002", "--no-backup", check=0)
    assert database.schema() == before


def test_without_two_phases_too_but_not_for_one_that_was_cancelled(project, database, shop):
    project.run("safe_migrate", "shop", "0002", "--no-backup", check=0)
    database.execute("UPDATE shop_order SET metres = 1")
    project.run("backfill", "cancel", "shop.0002_fill#0", check=0)
    told = project.run("safe_migrate", "--no-backup", check=0).stdout
    assert "shop.0003_enforce#2 still waits: the backfill shop.0002_fill#1" in told
    waiting = project.json("contract", "list", check=0)["waiting"]
    assert [each["operation"] for each in waiting] == ["shop.0003_enforce#2"]
    assert database.query(IS_NULLABLE) == [("NO",)]


@pytest.mark.parametrize("two_phase", [True, False])
def test_what_a_backfill_reads_is_not_taken_away_before_it_is_done(
    project, database, shop, two_phase
):
    """Its rows would have been filled from a column that is gone."""
    shop.last = "0002_fill"
    shop.migration("0003_enforce", 'Contract(migrations.RemoveField("order", "km")),')
    project.settings(DEPLOY_OPS_TWO_PHASE=two_phase)
    project.run("safe_migrate", "--no-backup", check=0)
    told = project.run("contract", "run", "--force", "--no-backup", check=0).stdout
    assert "shop.0003_enforce#0 still waits: the backfill shop.0002_fill#0" in told
    database.execute("INSERT INTO shop_order (number) VALUES (0)")  # as new code does
    project.run("backfill", "run", check=0)
    assert database.query("SELECT sum(metres) FROM shop_order") == [(5_050_000,)]
    project.run("contract", "run", "--force", "--no-backup", check=0)
    assert project.json("contract", "list", check=0)["waiting"] == []
    assert ("km",) not in database.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'shop_order'"
    )
