"""After the contract: what replaced a column gives its values back, or it is said that they are gone."""

import pytest
from django.core.management import call_command
from django.db import connections, migrations, models
from django.db.migrations.state import ProjectState
from django.db.models import F, Value
from django.db.models.functions import Concat

from deploy_ops.errors import NeedsNoTransaction, RowsInTheWay
from deploy_ops.phases import Contract
from tests.deploy_ops.phases.bench import APP, PACKAGE, Bench, create
from tests.sample_apps.written import deploy_first

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
ROWS = (
    "INSERT INTO shop_car (id) VALUES (1), (2)",
    "INSERT INTO shop_trip SELECT FROM generate_series(1, 500)",
    "UPDATE shop_trip SET km = id, metres = id * 1000, note = 'n' || id, text = 'n' || id,"
    " car_id = 1, vehicle_id = 1 + id % 2",
)
GIVEN = [
    create("car"),
    create(
        "trip",
        ("km", models.IntegerField(null=True, unique=True)),
        ("metres", models.IntegerField(null=True)),
        ("note", models.CharField(max_length=20, null=True)),
        ("text", models.CharField(max_length=20, null=True)),
        ("car", models.ForeignKey("shop.car", models.CASCADE, null=True, related_name="a")),
        ("vehicle", models.ForeignKey("shop.car", models.CASCADE, null=True, related_name="b")),
    ),
]
CAR = models.ForeignKey("shop.car", models.CASCADE, related_name="a")
# name: (the field as it is when it is removed, what holds its values, whether all are given)
CASES = {
    "null": (("km", models.IntegerField(null=True, unique=True)), F("metres") / 1000),
    "not_null": (("km", models.IntegerField(unique=True)), F("metres") / 1000),
    "default": (("note", models.CharField(max_length=20, default="50%")), F("text")),
    "db_default": (("note", models.CharField(max_length=20, db_default="?")), F("text")),
    "foreign_key": (("car", CAR), F("vehicle")),
    "expression": (
        ("note", models.CharField(max_length=20, db_index=True)),
        Concat(F("text"), Value("%'")),
    ),
}


@pytest.fixture
def alias(django_alias, settings):
    settings.MIGRATION_MODULES = {APP: PACKAGE}
    if connections[django_alias].vendor == "postgresql":
        call_command("migrate", "deploy_ops", database=django_alias, verbosity=0)
    return django_alias


def prepared(alias, case):
    """The table with the field as it is to be removed, and the operation that does it."""
    (name, field), values = CASES[case]
    bench = Bench(alias, given=GIVEN, before=ROWS)
    bench.apply(migrations.AlterField("trip", name, field), is_atomic=True)
    return bench, Contract(migrations.RemoveField("trip", name), values)


@PG15
def test_the_values_are_back(alias):
    for case, ((name, field), _) in CASES.items():
        bench, operation = prepared(alias, case)
        before = bench.catalog()
        bench.try_out(operation)
        bench.sql(
            "UPDATE shop_trip SET metres = 999000, text = 'new', vehicle_id = 2 WHERE id = 7",
            "INSERT INTO shop_trip (metres, text, vehicle_id) VALUES (9999000, 'x', 1)",  # new code
        )
        bench.reverse(operation)
        assert bench.catalog() == before, case
        wrong = {
            "km": "km IS DISTINCT FROM metres / 1000",
            "note": "note NOT IN (text, text || '%''')",
            "car": "car_id IS DISTINCT FROM vehicle_id",
        }[name]
        assert bench.sql(f"SELECT id FROM shop_trip WHERE {wrong}") == [], (case, field)


@PG15
def test_the_way_back_can_be_killed_at_every_statement(alias):
    bench, operation = prepared(alias, "not_null")
    before = bench.catalog()
    kill = 1
    bench.try_out(operation)
    while bench.killed_after(kill, lambda: bench.reverse(operation)):
        kill += 4
    assert kill > 12
    assert bench.catalog() == before
    assert bench.sql("SELECT id FROM shop_trip WHERE km IS DISTINCT FROM metres / 1000") == []


@PG15
def test_what_new_code_writes_meanwhile_is_not_lost(alias, database):
    bench, operation = prepared(alias, "null")
    bench.try_out(operation)

    def writing(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "CREATE TRIGGER" in str(sql):
            database.execute("UPDATE online.shop_trip SET metres = 999042000 WHERE id = 500")
            database.execute("INSERT INTO online.shop_trip (metres) VALUES (999043000)")
        if "DROP TRIGGER" in str(sql):
            seen.append(database.query("SELECT max(km) FROM online.shop_trip WHERE id >= 500"))
        return result

    seen = []
    with connections[alias].execute_wrapper(writing):
        bench.reverse(operation)
    assert seen == [[(999043,)]]
    assert bench.sql("SELECT km FROM shop_trip WHERE id = 500") == [(999042,)]


@PG15
def test_what_is_refused_or_named(alias):
    bench, operation = prepared(alias, "not_null")
    with pytest.raises(NeedsNoTransaction, match="atomic = False"):  # not only when it is needed
        bench.try_out(operation, is_atomic=True)
    collected = bench.collect(operation, backwards=True)
    assert any('UPDATE "shop_trip" SET "km"' in each for each in collected)
    bench.try_out(operation)
    bench.sql("UPDATE shop_trip SET metres = NULL WHERE id = 3")
    with pytest.raises(RowsInTheWay, match="id = 3"):
        bench.reverse(operation)
    bench.sql("UPDATE shop_trip SET metres = 3000 WHERE id = 3")
    bench.reverse(operation)
    assert bench.sql("SELECT km FROM shop_trip WHERE id = 3") == [(3,)]


def test_only_a_removed_field_has_values_to_give_back():
    with pytest.raises(TypeError, match="RemoveField"):
        Contract(migrations.DeleteModel("trip"), F("metres"))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_where_nobody_else_is_at_work(alias):
    (name, field), values = CASES["default"]
    connection, before = connections[alias], ProjectState()
    fields = [("id", models.BigAutoField(primary_key=True)), (name, field)]
    create_ = migrations.CreateModel("trip", [*fields, ("text", models.TextField(null=True))])
    create_.state_forwards(APP, before)
    operation, after = Contract(migrations.RemoveField("trip", name), values), before.clone()
    operation.state_forwards(APP, after)
    with connection.schema_editor() as editor:
        create_.database_forwards(APP, editor, ProjectState(), before)
        operation.database_forwards(APP, editor, before, after)
        editor.execute("INSERT INTO shop_trip (text) VALUES ('a'), (NULL)")
    with connection.schema_editor() as editor:
        operation.database_backwards(APP, editor, after, before)
    with connection.cursor() as cursor:
        cursor.execute("SELECT note FROM shop_trip ORDER BY id")
        assert cursor.fetchall() == [("a",), ("50%",)]


INITIAL = """
migrations.CreateModel("order", [
    ("id", models.BigAutoField(primary_key=True)),
    ("note", models.CharField(max_length=50)),
    ("remark", models.CharField(max_length=50)),
    ("pieces", models.IntegerField(default=1)),
]),
"""
CONTRACT = ("safe_migrate", "--phase", "contract", "--force")


@pytest.fixture
def shop(project, database):
    app = deploy_first(project, INITIAL)
    database.execute("INSERT INTO shop_order (note, remark, pieces) VALUES ('a', 'a', 7)")
    return app


@PG15
def test_forward_contract_new_writes_and_back(project, database, shop):
    removal = 'Contract(migrations.RemoveField("order", "note"), models.F("remark")),'
    shop.migration("0002_change", removal, atomic=False)
    project.run("safe_migrate", "--no-backup", check=0)
    project.run(*CONTRACT, "--no-backup", check=0)
    database.execute("INSERT INTO shop_order (remark, pieces) VALUES ('b', 8)")
    (row,) = project.json("contract", "list", "--all", check=0)["done"]
    assert (row["operation"], row["is_lossless"], row["backup"]) == (
        "shop.0002_change#0",
        True,
        None,
    )

    project.run("safe_migrate", "shop", "0001", "--no-backup", check=0)
    assert database.query("SELECT note, remark FROM shop_order ORDER BY id") == [
        ("a", "a"),
        ("b", "b"),
    ]
    assert project.json("contract", "list", "--all", check=0)["done"] == []


@PG15
def test_what_nothing_holds_any_more_is_never_lost_silently(project, database, shop):
    operations = """
    Contract(migrations.RemoveField("order", "pieces")),
    Contract(migrations.RemoveIndex("order", "by_note")),
    """
    shop.migration(
        "0002_index",
        'AddIndexOnline("order", models.Index(fields=["note"], name="by_note")),',
        atomic=False,
    )
    shop.migration("0003_change", operations)
    project.run("safe_migrate", "--no-backup", "--allow", "T005", check=0)
    done = project.json(*CONTRACT, check=0)
    said = f"shop.0003_change#0 (Remove field pieces from order): its values are gone; backup {done['backup']}, taken before its contract, has them"

    before = database.schema()
    refused = project.run("safe_migrate", "shop", "0001", "--no-backup", check=1)
    assert said in refused.stderr and "0003_change#1" not in refused.stderr
    assert database.schema() == before
    assert said in project.run("safe_migrate", "shop", "0001", "--plan", check=0).stdout
    listed = project.run("contract", "list", "--all", check=0).stdout
    assert f"backup {done['backup']}, taken before its contract, has them" in listed
    assert "reversing it brings the values back" in listed  # the index
    headings = "OPERATION TABLE RAN AGE DID WAY BACK"
    assert headings in [" ".join(line.split()) for line in listed.splitlines()]

    told = project.run("safe_migrate", "shop", "0001", "--no-backup", "--accept-data-loss", check=0)
    assert f"Ignored (--accept-data-loss): {said}" in told.stdout
    assert database.query("SELECT pieces FROM shop_order") == [(1,)]


@PG15
def test_of_code_and_types_it_is_not_said_that_values_come_back(project, shop):
    operations = """
    Contract(migrations.RunSQL("UPDATE shop_order SET note = ''", migrations.RunSQL.noop)),
    Contract(migrations.AlterField("order", "note", models.CharField(max_length=20))),
    """
    shop.migration("0002_change", operations)
    project.run("safe_migrate", "--no-backup", check=0)
    project.run(*CONTRACT, "--no-backup", check=0)
    listed = project.run("contract", "list", "--all", check=0).stdout
    assert listed.count("whether reversing it brings back what was there is not known") == 2
    done = project.json("contract", "list", "--all", check=0)["done"]
    assert [row["is_lossless"] for row in done] == [None, None]
