"""Contract(operation): the models change now, the database when the old release is gone."""

import pytest

from tests.sample_apps.written import WrittenApp

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
    """The app with its first migration applied, by a project that works in two phases."""
    app = WrittenApp(postgresql_project.directory)
    app.migration("0001_initial", INITIAL)
    postgresql_project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    postgresql_project.run("safe_migrate", "--no-backup", check=0)
    return app


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
            "SELECT app, migration, path FROM deploy_ops_contractrow WHERE done_at IS NULL"
        )
    ]


def expand(project, shop, operations, name="0002_change", **kwargs):
    shop.migration(name, operations, **kwargs)
    return project.run("safe_migrate", "--no-backup", check=0)


def test_a_removed_column_stays_until_the_contract(postgresql_project, postgresql_database, shop):
    project, database = postgresql_project, postgresql_database
    expand(project, shop, 'Contract(migrations.RemoveField("order", "note")),')
    assert columns(database)["note"] == ("NO", "''::character varying")
    assert waiting(database) == ["shop.0002_change#0"]

    result = project.run("safe_migrate", "--phase", "contract", "--no-backup", check=0)
    assert "shop.0002_change#0" in result.stdout
    assert "note" not in columns(database)
    assert waiting(database) == []
    assert "Nothing to do" in project.run("safe_migrate", "--phase", "contract", check=0).stdout
