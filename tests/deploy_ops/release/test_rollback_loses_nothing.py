"""A way back that would lose what new code has written is not called one that loses nothing."""

import pytest

from tests.deploy_ops.release.test_rollback import ALLOWED, MIGRATION, MUST, NEW
from tests.sample_apps.modelled import ModelledApp

MODELS = """class Order(models.Model):
    note = models.CharField(max_length=50)
    kind = models.IntegerField(null=True)
    day = models.DateField(null=True)
"""
TO_TEXT = 'ChangeTypeOnline("order", "kind", models.CharField(max_length=9, null=True, db_column="code")),'
TO_TIME = 'ChangeTypeOnline("order", "day", models.DateTimeField(null=True, db_column="at")),'
RENAMED = 'RenameFieldOnline("order", "note", "remark"),'
LONGER = 'Contract(migrations.AlterField("order", "note", models.CharField(max_length=80))),'
OPTIONAL = (
    'Contract(migrations.AlterField("order", "note", models.CharField(max_length=50, null=True))),'
)
WORD = 'AddFieldOnline("order", "word", models.CharField(max_length=9, default="a")),'
WITHOUT_CASE = """
    CREATE COLLATION without_case
    (provider = icu, locale = 'und-u-ks-level2', deterministic = false)
"""
CASED = """migrations.AddField("order", "word",
            models.CharField(max_length=9, default="a", db_collation="without_case")),"""
# What new code writes, and what is told of it.
WRITTEN = {
    "a text that the number cannot hold": (
        TO_TEXT,
        "INSERT INTO shop_order (note, code, must) VALUES ('new', '007', 1)",
        "shop_order.code has values that kind does not hold",
    ),
    "a time that the date cannot hold": (
        TO_TIME,
        "INSERT INTO shop_order (note, at, must) VALUES ('new', '2024-03-04 12:13', 1)",
        "shop_order.at has values that day does not hold",
    ),
    "past the triggers": (
        RENAMED,
        "ALTER TABLE shop_order DISABLE TRIGGER USER;"
        "INSERT INTO shop_order (note, remark, must) VALUES ('', 'new', 1)",
        "shop_order.remark has values that note does not hold",
    ),
    "longer than before": (
        LONGER,
        "INSERT INTO shop_order (note, must) VALUES (repeat('x', 80), 1)",
        "shop_order.note has values that do not fit what it was before",
    ),
    "NULL, which was not allowed before": (
        OPTIONAL,
        "INSERT INTO shop_order (must) VALUES (1)",
        "shop_order.note has values that do not fit what it was before",
    ),
    "another case than the default": (
        CASED,
        "INSERT INTO shop_order (note, word, must) VALUES ('new', 'A', 1)",
        "shop_order.word is new, and rows have values in it",
    ),
}
pytestmark = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@pytest.fixture
def app(project, database):
    """1.0.0 is deployed, and has a row."""
    app = ModelledApp(project.directory)
    project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    app.models(MODELS)
    project.run("makemigrations", "shop", "--noinput", check=0)
    project.run("safe_migrate", "--no-backup", check=0, env={"APP_VERSION": "1.0.0"})
    database.execute("INSERT INTO shop_order (note, kind, day) VALUES ('old', 7, '2024-01-02')")
    return app


@pytest.fixture
def release(project, app):
    """Deploy 1.1.0 with an operation, and one that the code of 1.0.0 does not work with."""

    def deploy(operation):
        write(app, "0002_change", "0001_initial", operation)
        write(app, "0003_must", "0002_change", MUST)
        project.run("safe_migrate", *ALLOWED, check=0, env=NEW)

    return deploy


def write(app, name, last, operation):
    text = MIGRATION.format(
        atomic="Online" not in operation,
        replaces=[],
        dependencies=f'("deploy_ops", "0002_contract_rows"), ("shop", "{last}")',
        operations=f"        {operation}",
    )
    (app.migrations_dir / f"{name}.py").write_text(text)


def rows(database):
    return database.query("SELECT to_jsonb(row) FROM shop_order AS row ORDER BY id")


@pytest.mark.parametrize(("operation", "write_new", "told"), WRITTEN.values(), ids=WRITTEN)
def test_what_only_new_code_can_hold_is_not_dropped(
    project, database, release, operation, write_new, told
):
    if operation == CASED:
        database.execute(WITHOUT_CASE)
    release(operation)
    database.execute(write_new)
    before = rows(database)
    way = project.json("rollback", "--to", "1.0.0", check=1, env=NEW)
    assert way["decision"] == "restore"
    assert told in [each["why"] for each in way["obstacles"]]
    assert rows(database) == before


@pytest.mark.parametrize("operation", [TO_TEXT, TO_TIME, RENAMED, LONGER, CASED])
def test_what_old_code_can_hold_is_there_afterwards(project, database, release, operation):
    if operation == CASED:
        database.execute(WITHOUT_CASE)
    before = rows(database)
    release(operation)
    assert project.json("rollback", "--to", "1.0.0", check=0, env=NEW)["decision"] == "reverse"
    assert rows(database) == before


def test_undone_by_hand_it_is_looked_at_behind_the_lock(project, database, release):
    release(TO_TEXT)
    database.execute(WRITTEN["a text that the number cannot hold"][1])
    before = rows(database)
    back = ("safe_migrate", "shop", "0001", "--no-backup", "--on-failure", "stop")
    told = project.run(*back, check=4, env=NEW)
    assert "shop_order.code has values that kind does not hold" in told.stdout
    assert [row["code"] for (row,) in rows(database)] == [row["code"] for (row,) in before]
    [update] = [line.strip() for line in told.stdout.splitlines() if "UPDATE" in line]
    database.execute(update)
    project.run(*back, check=0, env=NEW)
    assert [row["kind"] for (row,) in rows(database)] == [7, 7]


MEANWHILE = """
from datetime import timedelta
from django.core.management import call_command
from django.db import connection
from deploy_ops.errors import PlanRefused
from deploy_ops.migrate.resume import always_wait
from deploy_ops.progress import Silent
from deploy_ops.release.go_back import GoingBack

going = GoingBack("default", "1.0.0", timedelta(0), progress=Silent(), ask=always_wait)
assert going.way.decision == "reverse", going.way
call_command("safe_migrate", with_backup=False, allow=["T006", "T007"])
with connection.cursor() as cursor:
    cursor.execute("INSERT INTO shop_order (note, must, word) VALUES ('new', 1, 'new')")
try:
    going.undo()
except PlanRefused as error:
    print(error)
"""


def test_what_others_migrate_and_write_after_the_decision_is_looked_at(
    project, database, release, app
):
    """It waits for the deploy lock, which another host has; without a transaction nothing would
    look at the rows again."""
    release("migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop),")
    write(app, "0004_word", "0003_must", WORD)
    told = project.run("shell", "-c", MEANWHILE, check=0, env=NEW).stdout
    assert "Since it was decided what to undo, this has come in the way:" in told
    assert "- shop_order.word: shop_order.word is new, and rows have values in it." in told
    assert [row["word"] for (row,) in rows(database)] == ["a", "new"]
