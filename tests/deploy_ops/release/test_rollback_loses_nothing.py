"""A way back that would lose what new code has written is not called one that loses nothing."""

import pytest

from tests.deploy_ops.release.test_rollback import ALLOWED, MIGRATION, MUST, NEW
from tests.sample_apps.modelled import ModelledApp

MODELS = """class Order(models.Model):
    note = models.CharField(max_length=50)
    kind = models.IntegerField(null=True)
    day = models.DateField(null=True)
    title = models.CharField(max_length=9, default="")
    place = models.CharField(max_length=9, default="")
"""
TO_TEXT = """ChangeTypeOnline("order", "kind",
            models.CharField(max_length=9, null=True, db_column="code")),"""
TO_TIME = 'ChangeTypeOnline("order", "day", models.DateTimeField(null=True, db_column="at")),'
RENAMED = 'RenameFieldOnline("order", "note", "remark"),'
LONGER = """Contract(migrations.AlterField("order", "title",
            models.CharField(max_length=80, default=""))),"""
OPTIONAL = """Contract(migrations.AlterField("order", "place",
            models.CharField(max_length=9, default="", null=True))),"""
CASED = """migrations.AddField("order", "word",
            models.CharField(max_length=9, default="a", db_collation="without_case")),"""
EVERYTHING = (TO_TEXT, TO_TIME, RENAMED, LONGER, OPTIONAL, CASED)
WORD = 'AddFieldOnline("order", "word", models.CharField(max_length=9, default="a")),'
WITHOUT_CASE = """
    CREATE COLLATION without_case
    (provider = icu, locale = 'und-u-ks-level2', deterministic = false)
"""
# A text that the number cannot hold, a time that the date cannot, NULL, another case; and what is
# written past the triggers.
NEW_ROWS = """
    INSERT INTO shop_order (note, code, at, title, place, word, must)
    VALUES ('new', '007', '2024-03-04 12:13', repeat('x', 80), NULL, 'A', 1);
    ALTER TABLE shop_order DISABLE TRIGGER USER;
    INSERT INTO shop_order (note, remark, title, place, word, must)
    VALUES ('', 'new', '', '', 'a', 1)
"""
LOST = {
    "shop_order.code has values that kind does not hold",
    "shop_order.at has values that day does not hold",
    "shop_order.remark has values that note does not hold",
    "shop_order.title has values that do not fit what it was before",
    "shop_order.place has values that do not fit what it was before",
    "shop_order.word is new, and rows have values in it",
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
    database.execute(
        "INSERT INTO shop_order (note, kind, day, title, place)"
        " VALUES ('old', 7, '2024-01-02', 'a', 'b')"
    )
    return app


@pytest.fixture
def release(project, app):
    """Deploy 1.1.0 with operations, and one that the code of 1.0.0 does not work with."""

    def deploy(*operations):
        last = "0001_initial"
        for number, each in enumerate([*operations, MUST], 2):
            write(app, f"000{number}_change", last, each)
            last = f"000{number}_change"
        project.run("safe_migrate", *ALLOWED, check=0, env=NEW)
        return last

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


def test_what_only_new_code_can_hold_is_not_dropped(project, database, release):
    database.execute(WITHOUT_CASE)
    release(*EVERYTHING)
    database.execute(NEW_ROWS)
    before = rows(database)
    way = project.json("rollback", "--to", "1.0.0", check=1, env=NEW)
    assert way["decision"] == "restore"
    assert {each["why"] for each in way["obstacles"]} == LOST
    assert rows(database) == before


def test_what_old_code_can_hold_is_there_afterwards(project, database, release):
    database.execute(WITHOUT_CASE)
    before = rows(database)
    release(*EVERYTHING)
    assert project.json("rollback", "--to", "1.0.0", check=0, env=NEW)["decision"] == "reverse"
    assert rows(database) == before


def test_undone_by_hand_it_is_looked_at_behind_the_lock(project, database, release):
    release(TO_TEXT)
    database.execute(
        "INSERT INTO shop_order (note, code, title, place, must) VALUES ('', '007', '', '', 1)"
    )
    back = ("safe_migrate", "shop", "0001", "--no-backup", "--on-failure", "stop")
    told = project.run(*back, check=4, env=NEW)
    assert "shop_order.code has values that kind does not hold" in told.stdout
    assert [row["code"] for (row,) in rows(database)] == ["7", "007"]
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
call_command("safe_migrate", "--no-backup", allow=["T006", "T007"])
with connection.cursor() as cursor:
    cursor.execute(
        "INSERT INTO shop_order (note, title, place, must, word) VALUES ('', '', '', 1, 'new')"
    )
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
    last = release()
    write(app, "0009_word", last, WORD)
    told = project.run("shell", "-c", MEANWHILE, check=0, env=NEW).stdout
    assert "This has changed since it was decided what to undo:" in told
    assert "- shop_order.word: shop_order.word is new, and rows have values in it." in told
    assert [row["word"] for (row,) in rows(database)] == ["a", "new"]
