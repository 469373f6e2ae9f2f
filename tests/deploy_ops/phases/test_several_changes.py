"""Several changes of one column that all wait: nothing is lost, and the schema is Django's."""

import pytest
from tests.sample_apps.written import deploy_first

CONTRACT = ("safe_migrate", "--phase", "contract", "--force", "--no-backup")
INITIAL = """
migrations.CreateModel("owner", [("id", models.BigAutoField(primary_key=True))]),
migrations.CreateModel("order", [
    ("id", models.BigAutoField(primary_key=True)),
    ("owner", models.ForeignKey("shop.owner", models.CASCADE, null=True)),
    ("note", models.CharField(max_length=50, null=True)),
    ("pieces", models.IntegerField(default=1)),
    ("price", models.IntegerField(default=1)),
]),
migrations.CreateModel("item", [
    ("id", models.BigAutoField(primary_key=True)),
    ("note", models.CharField(max_length=50, null=True)),
    ("code", models.IntegerField(null=True, unique=True)),
    ("rate", models.IntegerField(db_default=4)),
], options={"unique_together": {("note", "rate")}}),
"""
MANY = """
AddFieldOnline("order", "kind", models.IntegerField(default=5)),
migrations.AlterField("order", "kind", models.IntegerField(db_default=6)),
AddFieldOnline("order", "extra", models.IntegerField(default=5)),
Contract(migrations.RemoveField("order", "extra")),
RenameFieldOnline("order", "note", "remark"),
EnforceNotNull("order", "remark", models.CharField(max_length=50, default="none")),
EnforceUnique("order", models.UniqueConstraint(fields=["remark", "price"], name="one")),
EnforceCheck("order", models.CheckConstraint(condition=~models.Q(remark="bad"), name="good")),
AddIndexOnline("order", models.Index(fields=["remark"], name="by_remark")),
RenameFieldOnline("order", "pieces", "count"),
Contract(migrations.RemoveField("order", "count")),
AddFieldOnline("order", "first", models.IntegerField(default=5)),
RenameFieldOnline("order", "first", "second"),
"""


@pytest.fixture
def shop(project, database):
    app = deploy_first(project, INITIAL)
    database.execute(
        "INSERT INTO shop_order (note, pieces, price) SELECT n, n, n FROM"
        " generate_series(1, 50) AS n"
    )
    return app


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
def test_all_wait_together(project, database, shop):
    shop.migration("0002_many", MANY, atomic=False)
    project.run("safe_migrate", "--no-backup", check=0)
    database.execute("INSERT INTO shop_order (pieces, price, note) VALUES (700, 700, NULL)")
    database.execute("INSERT INTO shop_order (price, remark) VALUES (800, 'new')")
    seen = (
        "SELECT pieces, count, note, remark, kind, first, second FROM shop_order WHERE price = %s"
    )
    assert database.query(seen, [700]) == [(700, 700, "none", "none", 6, 5, 5)]
    assert database.query(seen, [800]) == [(1, 1, "new", "new", 6, 5, 5)]
    database.execute("CREATE VIEW of_others AS SELECT extra FROM shop_order")
    project.run(*CONTRACT, check=4)
    database.execute("INSERT INTO shop_order (price, remark) VALUES (900, 'x')")  # as new code
    database.execute("DROP VIEW of_others")
    project.run(*CONTRACT, check=0)
    assert project.json("contract", "list", check=0)["waiting"] == []
    assert database.query(
        "SELECT attname, attnotnull, pg_get_expr(adbin, adrelid) FROM pg_attribute LEFT JOIN"
        " pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid ="
        " 'shop_order'::regclass AND attnum > 2 AND NOT attisdropped ORDER BY attname"
    ) == [
        ("kind", True, "6"),
        ("price", True, None),
        ("remark", True, None),
        ("second", True, None),
    ]
    assert database.query(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'shop_order'::regclass"
        " AND contype IN ('u', 'c') ORDER BY conname"
    ) == [("good",), ("one",)]
    assert database.query("SELECT to_regclass('by_remark') IS NOT NULL") == [(True,)]
    assert database.query("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_a_column_whose_removal_waits_is_not_taken_over(project, database, shop):
    """Its contract would drop what new code writes; names of fields do not tell."""
    shop.migration("0002_gone", 'Contract(migrations.RemoveField("order", "owner")),')
    project.run("safe_migrate", "--no-backup", check=0)
    add = 'AddFieldOnline("order", "owner_id", models.BigIntegerField(null=True)),'
    shop.migration("0003_new", add)
    told = project.run("safe_migrate", "--no-backup", check=3)
    assert "its removal (shop.0002_gone#0) waits" in told.stdout + told.stderr
    shop.remove("0003_new")
    shop.last = "0002_gone"
    shop.migration("0003_new", 'RenameFieldOnline("order", "price", "owner_id"),', atomic=False)
    told = project.run("safe_migrate", "--no-backup")
    assert told.code in (3, 4) and "already has a column owner_id" in told.stdout + told.stderr
    project.run(*CONTRACT, check=0)
    project.run("safe_migrate", "--no-backup", check=0)


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_a_default_that_would_be_written_over_old_code(project, shop):
    shop.migration("0002_rename", 'RenameFieldOnline("order", "note", "remark"),', atomic=False)
    default = (
        'migrations.AlterField("order", "remark", models.CharField(max_length=50, db_default=""))'
    )
    shop.migration("0003_default", f"{default},")
    told = project.run("safe_migrate", "--no-backup", "--allow", "L106", check=1)
    assert "written over what old code writes" in told.stdout + told.stderr


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_an_older_type_that_waits_is_not_put_over_a_newer_one(project, database, shop):
    narrow, wide = "CharField(max_length=40, null=True)", "TextField(null=True)"
    alter = 'migrations.AlterField("order", "note", models.{})'
    shop.migration("0002_narrow", f"Contract({alter.format(narrow)}),")
    shop.migration("0003_wide", f"{alter.format(wide)},")
    project.run("safe_migrate", "--no-backup", check=0)
    told = project.run(*CONTRACT, check=3)
    assert "a later migration has made shop_order.note text" in told.stdout + told.stderr
    assert database.query(
        "SELECT data_type FROM information_schema.columns"
        " WHERE table_name = 'shop_order' AND column_name = 'note'"
    ) == [("text",)]


NULL = "note", "CharField(max_length=50, default='')", "CharField(max_length=50, null=True)"
UNIQUE = "code", "IntegerField(null=True)", "IntegerField(null=True, unique=True)"
DB_DEFAULT = "rate", "IntegerField(db_default=5)", "IntegerField(db_default=6)"
TAKEN_BACK = [
    ("null", "migrations.AlterField", NULL),
    ("unique", "migrations.AlterField", UNIQUE),
    ("unique", "EnforceUnique", UNIQUE),
    ("db_default", "migrations.AlterField", DB_DEFAULT),
]


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
@pytest.mark.parametrize("name, kind, forms", TAKEN_BACK)
def test_what_a_later_migration_has_taken_back_is_not_done(
    project, database, shop, name, kind, forms
):
    """Else a field of the models would be NOT NULL, or not unique, and nobody told."""
    field, first, then = forms
    alter = 'migrations.AlterField("item", "{}", models.{})'
    shop.migration("0002_first", f"Contract({alter.format(field, first)}),")
    again = f'{kind}("item", "{field}", models.{then}),'
    shop.migration("0003_again", again, atomic=kind.startswith("migrations"))
    project.run("safe_migrate", "--no-backup", "--allow", "L106", check=0)
    before = database.schema()
    told = project.run(*CONTRACT, check=3)
    assert f"a later migration has made shop_item.{field} {name}=" in told.stdout + told.stderr
    project.run("contract", "skip", "shop.0002_first#0", "--reason", "Taken back", check=0)
    project.run(*CONTRACT, check=0)
    assert database.schema() == before


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_what_is_unique_together_again_stays_so(project, database, shop):
    gone = 'Contract(migrations.AlterUniqueTogether("item", set())),'
    shop.migration("0002_gone", gone)
    again = 'EnforceUnique("item", ("note", "rate")),'
    shop.migration("0003_again", again, atomic=False)
    project.run("safe_migrate", "--no-backup", check=0)
    before = database.schema()
    told = project.run(*CONTRACT, check=3)
    assert "a later migration has made note, rate of shop_item unique" in told.stdout + told.stderr
    project.run("contract", "skip", "shop.0002_gone#0", "--reason", "Taken back", check=0)
    project.run(*CONTRACT, check=0)
    assert database.schema() == before


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
@pytest.mark.parametrize("field", ["owner", "owner_id"])
def test_a_removal_that_a_squashed_migration_took_over_still_waits(project, shop, field):
    """Neither the name of the field nor that of its column is free yet."""
    removal = 'Contract(migrations.RemoveField("order", "owner")),'
    shop.migration("0002_gone", removal)
    project.run("safe_migrate", "--no-backup", check=0)
    shop.squash("0001_squashed", ["0001_initial", "0002_gone"], f"{INITIAL}\n{removal}")
    project.run("migrate", check=0)  # notes that the squashed one is applied
    shop.remove("0002_gone")
    shop.remove("0001_initial")
    shop.last = "0001_squashed"
    shop.migration("0003_new", f'AddFieldOnline("order", "{field}", models.TextField(null=True)),')
    told = project.run("safe_migrate", "--no-backup")
    assert told.code in (1, 3), told
    assert "its removal (shop.0002_gone#0) waits" in told.stdout + told.stderr
