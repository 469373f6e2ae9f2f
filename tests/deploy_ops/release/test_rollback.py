"""What the way back to an older release takes: code alone, migrations undone, or a backup."""

import pytest

from tests.sample_apps.modelled import ModelledApp
from tests.sample_apps.written import MIGRATION

PG15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
EACH = pytest.mark.parametrize("database", ["pg15", "sqlite"], indirect=True)
OLD = "class Order(models.Model):\n    note = models.CharField(max_length=50)\n"
WITHOUT_NOTE = "class Order(models.Model):\n    kind = models.IntegerField(null=True)\n"
WITH_KIND = f"{OLD}    kind = models.IntegerField(null=True)\n"
CONTRACT = ("safe_migrate", "--phase", "contract", "--force", "--no-backup")
NEW = {"APP_VERSION": "1.1.0"}
# Old code leaves it out, so the schema does not carry it; taken back, only a default is gone.
MUST = 'migrations.AddField("order", "must", models.IntegerField(default=1)),'
GONE = 'migrations.RemoveField("order", "note"),'
NOTHING = "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop),"
ALLOWED = [word for rule in ("T006", "T007", "L103", "L105") for word in ("--allow", rule)]


@pytest.fixture
def shop(project, database):
    """Release 1.0.0 was deployed, with its models."""
    app = ModelledApp(project.directory)
    project.with_apps(app.name).settings(DEPLOY_OPS_TWO_PHASE=True)
    app.models(OLD)
    project.run("makemigrations", "shop", "--noinput", check=0)
    project.run("safe_migrate", "--no-backup", check=0, env={"APP_VERSION": "1.0.0"})
    return app


@pytest.fixture
def release(project, shop):
    """Deploy 1.1.0 with these operations, each in a migration of its own."""

    def deploy(*operations, atomic=True, options=()):
        last = "0001_initial"
        for number, each in enumerate(operations, 2):
            name = f"000{number}_change"
            text = MIGRATION.format(
                atomic=atomic,
                replaces=[],
                dependencies=f'("deploy_ops", "0002_contract_rows"), ("shop", "{last}")',
                operations=f"        {each}",
            )
            (shop.migrations_dir / f"{name}.py").write_text(text)
            last = name
        return project.json("safe_migrate", *ALLOWED, *options, check=0, env=NEW)

    return deploy


def ask(project, *options, code, version="1.0.0"):
    return project.json("rollback", "--to", version, *options, check=code, env=NEW)


def plan(project, *, code, version="1.0.0"):
    return ask(project, "--plan", code=code, version=version)


def columns(database):
    return set(database.schema()["shop_order"])


def add_order(database, **values):
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    database.execute(f"INSERT INTO shop_order ({names}) VALUES ({marks})", tuple(values.values()))


@EACH
def test_code_only_after_expand(project, database, shop):
    shop.models(WITH_KIND)
    project.run("makemigrations", "shop", "--noinput", check=0)
    project.run("safe_migrate", check=0, env=NEW)
    way = plan(project, code=0)
    assert (way["decision"], way["why"], way["undone"]) == ("code_only", [], [])
    before = project.runs()
    done = ask(project, code=0, version="v1.0.0")
    assert done["next"] == ["./deploy.sh --rollback --to v1.0.0"]
    assert project.runs() == before
    assert "kind" in columns(database)


@EACH
def test_migrations_are_undone_where_nothing_is_lost(project, database, release):
    release(MUST, NOTHING if database.vendor == "postgresql" else MUST.replace("must", "also"))
    add_order(
        database, note="a", must=1, **({} if database.vendor == "postgresql" else {"also": 1})
    )
    way = plan(project, code=1)
    assert way["decision"] == "reverse"
    assert way["undone"] == ["shop.0003_change", "shop.0002_change"]
    assert "must" in columns(database)

    done = ask(project, code=0)
    assert done["status"] == "ok"
    assert columns(database) == {"id", "note"}
    assert database.query("SELECT note FROM shop_order") == [("a",)]
    assert project.json("backups", "show", done["backup"])["level"] == "read"
    assert plan(project, code=0)["decision"] == "code_only"


@EACH
def test_a_new_column_with_values_is_not_dropped(project, database, release):
    taken = release(MUST)["backup"]
    add_order(database, note="a", must=7)
    way = plan(project, code=1)
    assert way["decision"] == "restore"
    assert way["obstacles"] == [
        {"what": "shop_order.must", "why": "shop_order.must is new, and rows have values in it"}
    ]
    assert way["backup"] == taken
    assert [rows for table, rows in way["lost"]["rows"].items() if "order" in table] == [1]
    refused = project.run("rollback", "--to", "v1.0.0", check=1, env=NEW)
    assert f"rollback --to v1.0.0 --restore {taken}" in refused.stdout
    assert database.query("SELECT must FROM shop_order") == [(7,)]
