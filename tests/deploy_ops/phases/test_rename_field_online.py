"""RenameFieldOnline: both names are there until the old release is gone."""

import pytest

from deploy_ops.databases import database_for
from tests.sample_apps.written import deploy_first

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
BOTH = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
INITIAL = """
migrations.CreateModel("customer", [
    ("id", models.BigAutoField(primary_key=True)),
    ("name", models.CharField(max_length=50)),
]),
migrations.CreateModel("order", [
    ("id", models.BigAutoField(primary_key=True)),
    ("customer", models.ForeignKey("shop.customer", models.CASCADE, null=True)),
    ("note", models.CharField(max_length=50, null=True)),
    ("Code 1", models.CharField(max_length=20, unique=True, db_column="Code 1")),
    ("pieces", models.PositiveIntegerField(default=1)),
    ("price", models.DecimalField(max_digits=8, decimal_places=2, db_default=7)),
], options={
    "indexes": [models.Index(fields=["note", "-pieces"], name="by_note")],
    "constraints": [
        models.UniqueConstraint(fields=["pieces", "note"], name="one"),
        models.CheckConstraint(condition=models.Q(pieces__lt=1000), name="few"),
    ],
}),
""".replace('("Code 1", models', '("code", models')
FIELDS = ["customer", "note", "code", "pieces", "price"]
CONTRACT = ("safe_migrate", "--phase", "contract", "--force", "--no-backup")


@pytest.fixture
def shop(project, database):
    app = deploy_first(project, INITIAL)
    database.execute("INSERT INTO shop_customer (name) VALUES ('Anna'), ('Bert')")
    database.execute(
        'INSERT INTO shop_order (customer_id, note, "Code 1", pieces, price) '
        "SELECT 1, 'n' || n, 'c' || n, n, n FROM generate_series(1, 500) AS n"
    )
    return app


def rename(app, field, new, *, online=True, name="0002_rename"):
    kind = "RenameFieldOnline" if online else "migrations.RenameField"
    app.migration(name, f'{kind}("order", "{field}", "{new}"),', atomic=not online)


@pytest.mark.parametrize(
    ("database", "field"),
    [*(("pg15", field) for field in FIELDS), ("pg18", "customer")],
    indirect=["database"],
)
def test_ends_with_the_schema_of_a_plain_rename(project, database, shop, field, django_alias):
    before = database_for(django_alias).schema()
    rename(shop, field, "renamed", online=False)
    project.run("migrate", "shop", check=0)
    plain = database_for(django_alias).schema()
    rows = database.query("SELECT * FROM shop_order ORDER BY id")
    project.run("migrate", "shop", "0001", check=0)
    assert database_for(django_alias).schema().difference(before) == []
    shop.remove("0002_rename")
    shop.last = "0001_initial"

    rename(shop, field, "renamed", name="0002_online")
    project.run("safe_migrate", "--no-backup", check=0)
    project.run("migrate", "shop", "0001", check=0)  # back, while it waits
    assert database_for(django_alias).schema().difference(before) == []
    project.run("safe_migrate", "--no-backup", check=0)
    project.run(*CONTRACT, check=0)
    assert database_for(django_alias).schema().difference(plain) == []
    assert database.query("SELECT * FROM shop_order ORDER BY id") == rows
    project.run("migrate", "shop", "0001", check=0)  # back, after the contract
    assert database_for(django_alias).schema().difference(before) == []


@BOTH
def test_both_codes_see_what_the_other_writes(project, database, shop):
    rename(shop, "note", "remark")
    project.run("safe_migrate", "--no-backup", check=0)

    def both(key):
        return database.query('SELECT note, remark FROM shop_order WHERE "Code 1" = %s', [key])

    insert = 'INSERT INTO shop_order ("Code 1", pieces, price, {}) VALUES (%s, %s, 1, %s)'
    assert both("c7") == [("n7", "n7")]
    database.execute(insert.format("note"), ["old", 901, "by old"])
    assert both("old") == [("by old", "by old")]
    database.execute(insert.format("remark"), ["new", 902, "by new"])
    assert both("new") == [("by new", "by new")]
    database.execute(insert.format("remark"), ["null", 903, None])
    assert both("null") == [(None, None)]
    for column, value in (("note", "1"), ("remark", "2"), ("note", None), ("remark", "3")):
        database.execute(f'UPDATE shop_order SET {column} = %s WHERE "Code 1" = %s', [value, "new"])
        assert both("new") == [(value, value)]
    database.execute("UPDATE shop_order SET remark = NULL, price = 2 WHERE \"Code 1\" = 'old'")
    assert both("old") == [(None, None)]
    upsert = (
        insert.format("remark")
        + " ON CONFLICT (pieces, remark) DO UPDATE SET price = 99 RETURNING price"
    )
    assert database.query(upsert, ["c7", 7, "n7"]) == [(99,)]


@PG15
def test_new_code_leaves_a_default_to_the_database(project, database, shop):
    rename(shop, "price", "amount")
    project.run("safe_migrate", "--no-backup", check=0)
    insert = 'INSERT INTO shop_order ("Code 1", pieces, {}) VALUES (%s, 9, DEFAULT) RETURNING amount, price'
    for column in ("price", "amount"):
        assert database.query(insert.format(column), [column]) == [(7, 7)]


@PG15
def test_the_table_is_renamed_meanwhile(project, database, shop):
    rename(shop, "note", "remark")
    shop.migration("0003_table", 'migrations.AlterModelTable("order", "Orders"),')
    project.run("safe_migrate", "--no-backup", "--allow", "L104", check=0)
    project.run(*CONTRACT, check=0)
    database.execute(
        'INSERT INTO "Orders" ("Code 1", pieces, price, remark) VALUES (%s, 1, 1, %s)', ["x", "y"]
    )
    assert database.query("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]


@PG15
def test_an_atomic_migration_is_refused(project, shop):
    shop.migration("0002_rename", 'RenameFieldOnline("order", "note", "remark"),')
    result = project.run("safe_migrate", "--no-backup", check=3)
    assert "atomic = False" in result.stderr + result.stdout
