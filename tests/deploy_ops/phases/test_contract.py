"""Contract(operation): the models change now, the database when the old release is gone."""

import pytest
from django.db import migrations

from deploy_ops.phases import Contract
from tests.sample_apps.written import WrittenApp, deploy_first

BOTH = pytest.mark.parametrize("postgresql_database", ["pg15", "pg18"], indirect=True)
INITIAL = """
migrations.CreateModel("customer", [
    ("id", models.BigAutoField(primary_key=True)),
    ("name", models.CharField(max_length=50)),
]),
migrations.CreateModel("order", [
    ("id", models.BigAutoField(primary_key=True)),
    ("customer", models.ForeignKey("shop.customer", models.CASCADE)),
    ("note", models.CharField(max_length=50)),
    ("code", models.CharField(max_length=20, unique=True)),
    ("pieces", models.IntegerField(default=1)),
    ("changed_at", models.DateTimeField(auto_now=True)),
]),
"""


@pytest.fixture
def shop(postgresql_project):
    return deploy_first(postgresql_project, INITIAL)


def columns(database, table="shop_order"):
    rows = database.query(
        "SELECT column_name, is_nullable, column_default FROM information_schema.columns "
        "WHERE table_name = %s",
        [table],
    )
    return {name: (nullable, default) for name, nullable, default in rows}


def waiting(database):
    return [
        f"{app}.{name}#{path}"
        for app, name, path in database.query(
            "SELECT app, migration, path FROM deploy_ops_contractrow WHERE done_at IS NULL ORDER BY id"
        )
    ]


def expand(project, shop, operations, name="0002_change", *, allow=(), **kwargs):
    shop.migration(name, operations, **kwargs)
    allowed = [word for rule in allow for word in ("--allow", rule)]
    return project.run("safe_migrate", "--no-backup", *allowed, check=0)


def test_an_operation_that_stands_in_no_migration_changes_nothing(
    postgresql_project, postgresql_database, shop
):
    made = 'AddFieldOnline("order", "gift", models.IntegerField(default=1))'
    forwards = f'{{"database_forwards": lambda self, *args: {made}.database_forwards(*args)}}'
    hidden = made.replace("AddFieldOnline", f'type("Hidden", (AddFieldOnline,), {forwards})', 1)
    shop.migration("0002_change", f"{hidden},", atomic=False)

    result = postgresql_project.run("safe_migrate", "--no-backup", check=3)

    assert "stands in no migration file of shop" in result.stdout
    assert "gift" not in columns(postgresql_database)


@BOTH
def test_a_removed_column_stays_until_the_contract(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    expand(project, shop, 'Contract(migrations.RemoveField("order", "note")),')
    assert columns(database)["note"] == ("NO", "''::character varying")
    assert waiting(database) == ["shop.0002_change#0"]

    result = project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert "shop.0002_change#0" in result.stdout
    assert "note" not in columns(database)
    assert waiting(database) == []
    assert "Nothing to do" in project.run("safe_migrate", "--phase", "contract", check=0).stdout


@pytest.mark.parametrize(
    ("field", "nullable", "default"),
    [
        pytest.param("code", "YES", None, id="unique-never-shares-a-default"),
        pytest.param("pieces", "NO", "1", id="constant-default"),
        pytest.param("changed_at", "NO", "CURRENT_TIMESTAMP", id="auto-now"),
        pytest.param("customer", "YES", None, id="no-default"),
    ],
)
def test_inserts_may_leave_the_column_out(
    postgresql_project, postgresql_database, shop, field, nullable, default
):
    project, database = postgresql_project, postgresql_database
    before = database.schema()
    expand(project, shop, f'Contract(migrations.RemoveField("order", "{field}")),')
    column = "customer_id" if field == "customer" else field
    assert columns(database)[column] == (nullable, default)
    project.run("safe_migrate", "shop", "0001", "--no-backup", check=0)  # back again
    assert database.schema() == before
    assert waiting(database) == []


def test_a_parent_row_can_be_deleted_by_code_that_does_not_know_the_foreign_key(
    postgresql_project, postgresql_database, shop
):
    database = postgresql_database
    database.execute("INSERT INTO shop_customer (name) VALUES ('Anna')")
    old_insert = (
        "INSERT INTO shop_order (customer_id, note, code, pieces, changed_at) "
        "VALUES (1, '', %s, 1, now())"
    )
    database.execute(old_insert, ["a"])
    expand(postgresql_project, shop, 'Contract(migrations.RemoveField("order", "customer")),')
    database.execute("DELETE FROM shop_customer")
    database.execute(old_insert, ["b"])  # old code goes on writing
    postgresql_project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert "customer_id" not in columns(database)


@BOTH
def test_a_deleted_model_keeps_its_table_until_the_contract(
    postgresql_project, postgresql_database, shop
):
    project, database = postgresql_project, postgresql_database
    before = database.schema()
    expand(project, shop, 'Contract(migrations.DeleteModel("order")),')
    assert "code" in columns(database)
    project.run("safe_migrate", "shop", "0001", "--no-backup", check=0)
    assert database.schema() == before
    project.run("safe_migrate", "--no-backup", check=0)
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert not columns(database)
    # Dumped it would be a number, which another table may have where that is restored.
    assert database.query("SELECT relation FROM deploy_ops_contractrow") == [(None,)]
    back = ("safe_migrate", "shop", "0001", "--no-backup", "--accept-data-loss")
    project.run(*back, check=0)  # makes it anew
    assert database.schema() == before


def test_the_table_was_renamed_meanwhile(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    expand(project, shop, 'Contract(migrations.RemoveField("order", "note")),')
    rename = 'migrations.AlterModelTable("order", "Bestellungen 2026"),'
    expand(project, shop, rename, "0003_rename", allow=["L104"])
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert "note" not in columns(database, "Bestellungen 2026")


def test_a_view_on_the_column_is_told_and_never_dropped(
    postgresql_project, postgresql_database, shop
):
    project, database = postgresql_project, postgresql_database
    operations = """
    Contract(migrations.RemoveField("order", "note")),
    Contract(migrations.RemoveField("order", "pieces")),
    Contract(migrations.RemoveField("customer", "name")),
    """
    expand(project, shop, operations)
    database.execute("CREATE VIEW notes AS SELECT note FROM shop_order")
    result = project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=4)
    assert "view notes depends on column note" in result.stderr + result.stdout
    assert "shop.0002_change#1 still waits: shop.0002_change#0" in result.stdout
    assert "name" not in columns(database, "shop_customer")  # of another table
    assert waiting(database) == ["shop.0002_change#0", "shop.0002_change#1"]
    ((attempts, error),) = database.query(
        "SELECT attempts, last_error FROM deploy_ops_contractrow WHERE path = '0'"
    )
    assert attempts == 1 and "view notes" in error

    database.execute("DROP VIEW notes")
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert waiting(database) == []


def test_code_that_does_not_know_the_migration_leaves_the_row_alone(
    postgresql_project, postgresql_database, shop
):
    project, database = postgresql_project, postgresql_database
    expand(project, shop, 'Contract(migrations.RemoveField("order", "note")),')
    shop.remove("0002_change")
    result = project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert "shop.0002_change#0 still waits" in result.stdout
    assert waiting(database) == ["shop.0002_change#0"]


def test_a_fresh_app_does_both_halves_at_once(postgresql_project, postgresql_database):
    app = WrittenApp(postgresql_project.directory)
    app.migration("0001_initial", INITIAL)
    app.migration("0002_change", 'Contract(migrations.RemoveField("order", "note")),')
    project = postgresql_project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    project.run("migrate", check=0)  # whichever command migrates
    assert "note" not in columns(postgresql_database)
    assert waiting(postgresql_database) == []


def test_code_waits_too(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    database.execute("INSERT INTO shop_customer (name) VALUES ('Anna')")
    expand(project, shop, """Contract(migrations.RunSQL("UPDATE shop_customer SET name = 'x'")),""")
    assert database.query("SELECT name FROM shop_customer") == [("Anna",)]
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert database.query("SELECT name FROM shop_customer") == [("x",)]


def test_sqlmigrate_shows_both_halves(postgresql_project, shop):
    shop.migration("0002_change", 'Contract(migrations.RemoveField("order", "note")),')
    text = postgresql_project.run("sqlmigrate", "shop", "0002", check=0).stdout
    expand_sql, _, contract_sql = text.partition("-- waits for the contract phase:")
    assert """ALTER COLUMN "note" SET DEFAULT ''""" in expand_sql
    assert 'DROP COLUMN "note"' in contract_sql


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(
            'migrations.AlterField("order", "note", models.CharField(max_length=50, null=True))',
            id="null",
        ),
        pytest.param(
            'migrations.AlterField("order", "note", models.CharField(max_length=99))', id="longer"
        ),
        pytest.param('migrations.RemoveConstraint("order", "positive")', id="check"),
    ],
)
def test_what_loosens_does_not_wait(postgresql_project, postgresql_database, shop, operation):
    check = 'models.CheckConstraint(condition=models.Q(pieces__gt=0), name="positive")'
    expand(postgresql_project, shop, f'migrations.AddConstraint("order", {check}),')
    before = postgresql_database.schema()
    expand(postgresql_project, shop, f"Contract({operation}),", "0003_loosen")
    assert waiting(postgresql_database) == []
    postgresql_project.run("safe_migrate", "shop", "0002", "--no-backup", check=0)
    assert postgresql_database.schema() == before


def test_what_old_code_relies_on_waits(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    operations = """
    migrations.AddConstraint(
        "order", models.UniqueConstraint(fields=["note", "pieces"], name="one_of_a_kind")
    ),
    migrations.AddIndex("order", models.Index(fields=["pieces"], name="Pieces 2")),
    """
    expand(project, shop, operations)
    operations = """
    Contract(migrations.RemoveConstraint("order", "one_of_a_kind")),
    Contract(migrations.RemoveIndex("order", "Pieces 2")),
    Contract(migrations.AlterField("order", "pieces", models.BigIntegerField())),
    """
    expand(project, shop, operations, "0003_tighten")
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'shop_order'"
    assert {("one_of_a_kind",), ("Pieces 2",)} <= set(database.query(indexes))
    assert len(waiting(database)) == 3
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert not {("one_of_a_kind",), ("Pieces 2",)} & set(database.query(indexes))
    types = "SELECT data_type FROM information_schema.columns WHERE column_name = 'pieces'"
    assert database.query(types) == [("bigint",)]


def test_what_new_code_needs_cannot_wait():
    with pytest.raises(TypeError, match="new code needs what it makes"):
        Contract(migrations.RenameField("order", "note", "remark"))


def test_a_squashed_migration_takes_the_rows_over(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    removal = 'Contract(migrations.RemoveField("order", "note")),'
    expand(project, shop, removal)
    shop.squash("0001_squashed", ["0001_initial", "0002_change"], f"{INITIAL}\n{removal}")
    project.run("migrate", check=0)  # notes that the squashed one is applied
    shop.remove("0002_change")
    shop.remove("0001_initial")
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert "note" not in columns(database)
    assert waiting(database) == []


def metrics_say(project):
    """The state of the one operation that waits, and how many ages there are."""
    code = (
        "from deploy_ops.metrics import collectors\n"
        "waiting, oldest = collectors.contracts()\n"
        "(state,) = [each.labels['state'] for each in waiting.samples if each.value]\n"
        "print(state, len(oldest.samples))"
    )
    return project.run("shell", "--no-imports", "-c", code, check=0).stdout.strip()


def test_what_waits_is_listed_and_can_be_skipped(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    assert "Nothing waits" in project.run("contract", "list", check=0).stdout
    expand(project, shop, 'Contract(migrations.RemoveField("order", "note")),')
    (row,) = project.json("contract", "list", check=0)["waiting"]
    assert row["operation"] == "shop.0002_change#0"
    assert row["table"] == "shop_order"
    assert row["is_known"] is True
    headings, line = project.run("contract", "list", check=0).stdout.splitlines()
    assert headings.split() == "OPERATION STATE TABLE RELEASE SINCE AGE DOES NOTES".split()
    assert line.startswith("shop.0002_change#0  waits  shop_order  ")
    assert metrics_say(project) == "waiting 1"
    project.run("contract", "skip", "shop.0002_change#0", "--reason", "reports read it", check=0)
    assert (
        "reports read it"
        in project.run("contract", "run", "--force", "--no-backup", check=0).stdout
    )
    listed = project.run("contract", "list", "--all", check=0).stdout.splitlines()
    assert listed[1].startswith("shop.0002_change#0  skipped  ")
    assert listed[1].endswith("  reports read it") and listed[2:] == ["", "No contract has run."]
    assert "note" in columns(database)
    assert metrics_say(project) == "skipped 0"  # none of which the age would be an alarm
    refused = project.run("contract", "unskip", "shop.0002#0", check=2)
    assert "There are: shop.0002_change#0" in refused.stderr
    project.run("contract", "unskip", "shop.0002_change#0", check=0)
    project.run("contract", "run", "--force", "--no-backup", check=0)
    assert "note" not in columns(database)


def test_a_later_failure_takes_back_what_the_expand_did(
    postgresql_project, postgresql_database, shop
):
    project, database = postgresql_project, postgresql_database
    before = database.schema()
    shop.migration("0002_change", 'Contract(migrations.RemoveField("order", "code")),')
    shop.migration("0003_bad", 'migrations.RunSQL("SELECT 1/0"),')
    result = project.json("safe_migrate", "--no-backup", check=3)
    assert result["recovery"]["rung"] == "reversed"
    assert database.schema() == before
    assert waiting(database) == []


def test_killed_before_the_contract_is_committed(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    expand(project, shop, 'Contract(migrations.RemoveField("order", "note")),')
    contract = ("safe_migrate", "--phase", "contract", "--force", "--no-backup")
    for moment in ("journal:migration_started:after", "journal:migration_applied:before"):
        project.run(*contract, env={"KILL_AT": moment}, check=-9)
    result = project.run(*contract, check=0)
    assert "is resolved" in result.stdout
    assert "note" not in columns(database)
    assert waiting(database) == []


def test_a_check_that_is_gone_already_is_no_obstacle(postgresql_project, shop):
    """As after a kill of a migration without a transaction."""
    check = 'models.CheckConstraint(condition=models.Q(pieces__gt=0), name="positive")'
    expand(postgresql_project, shop, f'migrations.AddConstraint("order", {check}),')
    postgresql_project.database.execute("ALTER TABLE shop_order DROP CONSTRAINT positive")
    removal = 'Contract(migrations.RemoveConstraint("order", "positive")),'
    expand(postgresql_project, shop, removal, "0003_loosen", atomic=False)


def test_a_many_to_many_field_keeps_its_table(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    field = 'migrations.AddField("order", "friends", models.ManyToManyField("shop.customer")),'
    expand(project, shop, field)
    before = database.schema()
    expand(project, shop, 'Contract(migrations.RemoveField("order", "friends")),', "0003_alone")
    through = "shop_order_friends"
    foreign = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass"
    assert database.query(foreign, [through]) == [(0,)]
    project.run("safe_migrate", "shop", "0002", "--no-backup", check=0)
    assert database.query(foreign, [through]) == [(2,)]
    assert database.schema() == before
    project.run("safe_migrate", "--no-backup", check=0)
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert not columns(database, through)


@BOTH
@pytest.mark.parametrize("how", [[], ["--in-place"]], ids=["beside", "in-place"])
def test_what_waits_comes_back_with_a_restore(postgresql_project, postgresql_database, shop, how):
    project, database = postgresql_project, postgresql_database
    expand(project, shop, 'Contract(migrations.RemoveField("order", "note")),')
    project.run("backup", check=0)
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    project.run("restore", "latest", "--noinput", "--confirm", database.name, *how, check=0)
    assert waiting(database) == ["shop.0002_change#0"]
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    assert "note" not in columns(database)


def test_both_phases_in_one_run_are_refused_while_old_code_may_be_at_work(
    postgresql_project, postgresql_database, shop
):
    """What waits only after the migrations of the same run is asked for before them."""
    project, database = postgresql_project, postgresql_database
    shop.migration("0002_change", 'Contract(migrations.RemoveField("order", "note")),')
    before = database.schema()
    version = {"APP_VERSION": "2.0.0"}
    refused = project.run("safe_migrate", "--phase", "all", "--no-backup", env=version, check=1)
    assert "An older one that is not connected at the moment would be missed" in refused.stderr
    assert database.schema() == before
    applied = "SELECT name FROM django_migrations WHERE app = 'shop'"
    assert database.query(applied) == [("0001_initial",)]


def test_nothing_was_changed_is_not_said_after_a_contract_is_done(
    postgresql_project, postgresql_database, shop
):
    project, database = postgresql_project, postgresql_database
    operations = """
    Contract(migrations.RemoveField("order", "pieces")),
    Contract(migrations.RunSQL("LOCK TABLE shop_customer; SELECT pg_sleep(1)")),
    """
    expand(project, shop, operations)
    contract = ("safe_migrate", "--phase", "contract", "--force", "--rehearse")
    result = project.run(*contract, check=4)
    assert "shop.0002_change#1 was not begun" in result.stderr
    assert "Completed before: shop.0002_change#0" in result.stderr
    assert "pieces" not in columns(database)
    assert waiting(database) == ["shop.0002_change#1"]


INDEX = 'models.Index(fields=["note"], name="by_note")'
UNIQUE = 'models.UniqueConstraint(fields=["note"], name="one_note")'
REMADE = [
    (f'AddIndexOnline("order", {INDEX})', 'RemoveIndex("order", "by_note")'),
    (f'migrations.AddIndex("order", {INDEX})', 'RemoveIndex("order", "by_note")'),
    (f'EnforceUnique("order", {UNIQUE})', 'RemoveConstraint("order", "one_note")'),
]


@pytest.mark.parametrize("made, removed", REMADE)
@pytest.mark.parametrize("is_one_plan", [True, False])
def test_an_index_that_is_made_again_is_not_taken_for_the_one_that_goes(
    postgresql_project, postgresql_database, shop, made, removed, is_one_plan
):
    """As after a change of mind: it would be called done, and be dropped by the contract."""
    project, database = postgresql_project, postgresql_database
    shop.migration("0002_made", f"{made},", atomic="Online" not in made and "Enf" not in made)
    project.run("safe_migrate", "--no-backup", check=0)
    shop.migration("0003_removed", f"Contract(migrations.{removed}),")
    if not is_one_plan:
        project.run("safe_migrate", "--no-backup", check=0)
    before = database.schema()
    shop.migration("0004_again", f"{made},", atomic="Online" not in made and "Enf" not in made)
    refused = project.run("safe_migrate", "--no-backup", check=1)
    assert "(shop.0003_removed#0) waits for the contract phase" in refused.stderr
    if "migrations" not in made:
        failed = project.run("migrate", "shop")  # does not ask beforehand
        assert "waits for the contract phase" in failed.stderr
    else:
        project.run("safe_migrate", "shop", "0003", "--no-backup", check=0)
    assert database.schema() == before
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    project.run("safe_migrate", "--no-backup", check=0)
    assert database.schema() == before


def test_an_index_is_not_renamed_to_a_name_that_is_to_go(postgresql_project, shop):
    other = 'models.Index(fields=["pieces"], name="by_pieces")'
    shop.migration(
        "0002_made", "".join(f'migrations.AddIndex("order", {each}),' for each in (INDEX, other))
    )
    postgresql_project.run("safe_migrate", "--no-backup", check=0)
    shop.migration("0003_removed", 'Contract(migrations.RemoveIndex("order", "by_note")),')
    renamed = 'migrations.RenameIndex("order", old_name="by_pieces", new_name="by_note"),'
    shop.migration("0004_renamed", renamed)
    refused = postgresql_project.run("safe_migrate", "--no-backup", check=1)
    assert "(shop.0003_removed#0) waits for the contract phase" in refused.stderr


@pytest.mark.parametrize("kind", ["AddFieldOnline", "migrations.AddField"])
def test_a_name_is_taken_until_its_contract(postgresql_project, postgresql_database, shop, kind):
    """In one plan, or later: the column is the one of the release before, and would be dropped."""
    project, database = postgresql_project, postgresql_database
    before = database.schema()
    shop.migration("0002_change", 'Contract(migrations.RemoveField("order", "note")),')
    again = f'{kind}("order", "note", models.IntegerField(null=True)),'
    shop.migration("0003_again", again, atomic=False)
    refused = project.run("safe_migrate", "--no-backup", check=1)
    assert "its removal (shop.0002_change#0) waits for the contract phase" in refused.stderr
    assert database.schema() == before
    if kind == "AddFieldOnline":
        failed = project.run("migrate", "shop")  # does not ask beforehand
        assert "waits for the contract phase" in failed.stderr
    else:
        project.run("safe_migrate", "shop", "0002", "--no-backup", check=0)
    project.run("safe_migrate", "--phase", "contract", "--force", "--no-backup", check=0)
    project.run("safe_migrate", "--no-backup", check=0)
    assert columns(database)["note"] == ("YES", None)
