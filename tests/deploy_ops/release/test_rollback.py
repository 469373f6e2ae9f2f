"""What the way back to an older release takes: code alone, migrations undone, or a backup."""

import json
import re
import signal
import time

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
SQUASHED = """
        migrations.CreateModel("order", [
            ("id", models.BigAutoField(primary_key=True)), ("note", models.CharField(max_length=50)),
        ]),
"""
NEEDED = "it would be dropped, and the older release needs it"
NOTE_RELEASE = "from deploy_ops.release.postdeploy import note_release; note_release('default')"
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

    def deploy(*operations):
        write(shop, operations)
        return project.json("safe_migrate", *ALLOWED, check=0, env=NEW)

    return deploy


def write(shop, operations, *, atomic=True):
    """Migrations 0002_change and so on."""
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


def ask(project, *options, code, version="1.0.0"):
    return project.json("rollback", "--to", version, *options, check=code, env=NEW)


def plan(project, *, code, version="1.0.0"):
    return ask(project, "--plan", code=code, version=version)


def columns(database):
    return set(database.schema()["shop_order"])


def wait_for_text(project, process, text):
    for _ in range(600):
        if text in project.output_of(process) or process.poll() is not None:
            break
        time.sleep(0.05)
    assert text in project.output_of(process)


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
    manifest = json.loads((project.backups_dir / done["backup"] / "manifest.json").read_text())
    assert manifest["verified"]["level"] == "read"
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


@EACH
def test_rows_of_a_new_table_are_kept_in_a_copy(project, database, release):
    make = 'migrations.CreateModel("Item", [("id", models.BigAutoField(primary_key=True))]),'
    release(make, MUST)
    database.execute("INSERT INTO shop_item DEFAULT VALUES")
    assert plan(project, code=1)["kept"] == ["shop_item"]
    done = ask(project, code=0)
    [kept] = done["kept_tables"]
    assert database.query(f"SELECT count(*) FROM {kept}") == [(1,)]
    assert "shop_item" not in database.schema()


@EACH
def test_code_without_a_reverse_cannot_be_undone(project, database, release):
    release(MUST, "migrations.RunPython(migrations.RunPython.noop),")
    way = plan(project, code=1)
    assert way["decision"] == "restore"
    assert [each["what"] for each in way["obstacles"]] == [
        "shop.0003_change#0 (Raw Python operation)"
    ]
    assert way["obstacles"][0]["why"] == "it cannot be reversed"
    told = project.run("rollback", "--to", "1.0.0", "--plan", check=1, env=NEW).stdout
    assert "- shop.0003_change#0 (Raw Python operation): it cannot be reversed." in told


@PG15
def test_after_the_contract_only_a_backup_from_before_has_the_values(project, database, shop):
    add_order(database, note="before")
    shop.models(WITHOUT_NOTE)
    project.run("make_two_phase", "shop", "--noinput", check=0)
    first = project.json("safe_migrate", check=0, env=NEW)["backup"]
    assert plan(project, code=0)["decision"] == "code_only"

    database.execute("INSERT INTO shop_order (kind) VALUES (1)")
    project.run("safe_migrate", "--phase", "contract", "--force", check=0, env=NEW)
    database.execute("INSERT INTO shop_order (kind) VALUES (2)")
    way = plan(project, code=1)
    assert way["decision"] == "restore"
    assert [each["id"] for each in way["why"]] == ["deploy_ops.T006"]
    assert "taken before its contract, has them" in way["obstacles"][0]["why"]
    assert way["backup"] > first, "the newest on whose schema the old code works"
    assert way["lost"]["rows"] == {"public.shop_order": 1}

    options = ("--noinput", "--confirm", database.name)
    refused = project.run("rollback", "--to", "1.0.0", "--restore", "latest", "--noinput", env=NEW)
    assert refused.code == 1 and "rollback --to v1.0.0 --restore latest --noinput" in refused.stderr
    later = project.json("backup", check=0)["backup"]
    wrong = project.run("rollback", "--to", "1.0.0", "--restore", later, *options, check=1, env=NEW)
    assert f"does not work on the schema of backup {later} either" in wrong.stderr
    ask(project, "--restore", "latest", *options, code=0)
    assert database.query("SELECT note FROM shop_order ORDER BY id") == [("before",), ("",)]
    assert plan(project, code=0)["decision"] == "code_only"
    refused = project.run(
        "rollback", "--to", "1.0.0", "--restore", "latest", *options, check=1, env=NEW
    )
    assert "Nothing has to be restored" in refused.stderr


@EACH
def test_killed_in_the_middle_it_is_resolved_and_goes_on_backwards(project, database, release):
    release(MUST, MUST.replace("must", "also"))
    project.run(
        "rollback",
        "--to",
        "1.0.0",
        env={**NEW, "KILL_AT": "journal:migration_started:after"},
        check=-signal.SIGKILL,
    )
    assert columns(database) == {"id", "note", "must", "also"}
    assert "R027" in {each["id"][-4:] for each in plan(project, code=1)["findings"]}
    ask(project, code=0)
    assert columns(database) == {"id", "note"}
    ends = [project.journal(run)[-1]["step"] for run in project.runs()]
    assert sorted(ends) == [*["finished"] * (len(ends) - 1), "resolved"]

    assert ask(project, code=0)["decision"] == "code_only"


@EACH
def test_killed_after_the_commit_nothing_is_undone_twice(project, database, release):
    release(MUST)
    project.run(
        "rollback",
        "--to",
        "1.0.0",
        env={**NEW, "KILL_AT": "journal:finished:before"},
        check=-signal.SIGKILL,
    )
    assert columns(database) == {"id", "note"}
    assert ask(project, code=0)["decision"] == "code_only"
    assert [project.journal(run)[-1]["step"] for run in project.runs()].count("resolved") == 1


@EACH
def test_after_a_deployment_was_killed_the_way_back_does_not_advise_to_go_forward(
    project, database, shop
):
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    order = "apps.get_model('shop', 'Order').objects.create(note='half')"
    write(shop, [f"migrations.RunPython(lambda apps, _: ({order}, {kill})),", MUST], atomic=False)
    project.run("safe_migrate", *ALLOWED, env=NEW, check=-signal.SIGKILL)
    told = project.run("rollback", "--to", "1.0.0", env=NEW, check=4).stderr
    [advised] = re.findall(r"manage\.py (rollback .* --resolved \S+)", told)

    done = project.json(*advised.split(), check=0, env=NEW)

    assert done["decision"] == "code_only"
    assert columns(database) == {"id", "note"}


@PG15
def test_killed_in_the_middle_it_tells_where_rows_are_kept(project, database, release):
    """It was committed with the group of steps that comes first, and others are left to do."""
    make = 'migrations.CreateModel("Item", [("id", models.BigAutoField(primary_key=True))]),'
    release(make)
    database.execute("INSERT INTO shop_item DEFAULT VALUES")
    release(make, MUST)
    project.run(
        "rollback",
        "--to",
        "1.0.0",
        env={**NEW, "KILL_AT": "journal:migration_applied:before"},
        check=-signal.SIGKILL,
    )
    told = project.run("rollback", "--to", "1.0.0", check=0, env=NEW).stdout
    [(kept,)] = database.query(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'deploy_ops_kept'"
    )
    assert f'Rows of the tables that are gone are kept in deploy_ops_kept."{kept}".' in told


@EACH
def test_what_was_taken_away_by_hand_is_not_taken_for_there(project, database, release):
    release(NOTHING)
    assert plan(project, code=0)["decision"] == "code_only"
    database.execute("ALTER TABLE shop_order RENAME note TO remark")
    way = plan(project, code=1)
    assert [each["id"] for each in way["why"]] == ["deploy_ops.R030"]
    assert [each["what"] for each in way["obstacles"]] == ["By hand"]
    assert way["backup"]


@PG15
def test_nothing_is_undone_where_something_was_taken_away_by_hand(project, database, release):
    release(MUST)
    database.execute("ALTER TABLE shop_order RENAME note TO remark")
    assert ask(project, code=1)["decision"] == "restore"
    assert columns(database) == {"id", "remark", "must"}


@PG15
def test_a_backfill_that_is_not_done_is_named(project, database, release):
    release(NOTHING)
    database.execute(
        "INSERT INTO deploy_ops_backfillprogress (name, relation, description, rows_total,"
        " rows_read, rows_written, release, created_at, waits_for, last_error) VALUES"
        " ('shop.0002_change#0', 'shop_order', '', 9, 0, 0, '', now(), '', '')"
    )
    found = {each["id"][-4:]: each for each in plan(project, code=0)["findings"]}
    assert "The backfill shop.0002_change#0 is not done" in found["R028"]["message"]
    assert found["R028"]["hint"].endswith("manage.py backfill pause 'shop.0002_change#0'")


@PG15
def test_two_at_once(project, database, release):
    release(MUST)
    with database.connect() as other:
        other.execute("BEGIN; SELECT 1 FROM shop_order")  # keeps the reverse waiting
        first = project.start("rollback", "--to", "1.0.0", env=NEW)
        wait_for_text(project, first, "retry")
        second = project.run("rollback", "--to", "1.0.0", "--wait", "0s", check=1, env=NEW)
        assert "Only one deployment may run at a time" in second.stderr
        other.execute("COMMIT")
    assert project.finish(first).code == 0
    assert columns(database) == {"id", "note"}


@PG15
def test_what_is_written_after_the_look_is_not_lost(project, database, release):
    """Rows are looked at again behind the lock: it is rolled back, and nothing was changed."""
    release(MUST)
    with database.connect() as other:
        other.execute("BEGIN; INSERT INTO shop_order (note, must) VALUES ('late', 9)")
        first = project.start("rollback", "--to", "1.0.0", env=NEW)
        wait_for_text(project, first, "retry")
        other.execute("COMMIT")
    done = project.finish(first)
    assert done.code == 3, done
    assert "shop_order.must is new, and rows have values in it" in done.stdout
    assert database.query("SELECT must FROM shop_order") == [(9,)]


@PG15
def test_a_reverse_of_its_author_that_would_change_rows_is_rolled_back(project, database, release):
    reverse = "migrations.RunSQL('SELECT 1', \"UPDATE shop_order SET note = ''\"),"
    release(MUST, reverse)
    add_order(database, note="a", must=1)
    way = plan(project, code=1)
    assert (way["decision"], way["runs_code"]) == ("reverse", ["shop.0003_change"])
    told = project.run("rollback", "--to", "1.0.0", check=3, env=NEW)
    assert "python manage.py rollback --to v1.0.0 --restore latest" in told.stderr
    assert "the reverse would change rows of shop_order" in told.stdout
    assert database.query("SELECT note FROM shop_order") == [("a",)]


@PG15
def test_a_table_that_only_sql_knows_is_not_dropped(project, database, release):
    release(MUST, "migrations.RunSQL('CREATE TABLE extra (id int)', 'DROP TABLE extra'),")
    database.execute("INSERT INTO extra VALUES (1)")
    told = project.run("rollback", "--to", "1.0.0", check=3, env=NEW)
    assert "the reverse would drop, empty or rewrite extra" in told.stdout
    assert database.query("SELECT id FROM extra") == [(1,)]


@PG15
def test_what_waited_for_the_contract_waits_no_more(project, database, release):
    """The column that was to go later holds its values, and no contract can take it any more."""
    add_order(database, note="old")
    release('Contract(migrations.RemoveField("order", "note")),', MUST)
    database.execute("INSERT INTO shop_order (must) VALUES (1)")
    assert "R024" in {each["id"][-4:] for each in plan(project, code=1)["findings"]}
    ask(project, code=0)
    assert database.query("SELECT note FROM shop_order ORDER BY id") == [("old",), ("",)]
    assert database.query("SELECT count(*) FROM deploy_ops_contractrow") == [(0,)]
    assert columns(database) == {"id", "note"}


@PG15
def test_a_table_that_the_older_release_needs_is_not_dropped(project, database, release, shop):
    """It got a migration only since (`migrate --fake`), which undone would drop it."""
    shop.models(f"{OLD}class Item(models.Model):\n    pass\n")
    database.execute("CREATE TABLE shop_item (id bigint PRIMARY KEY)")
    project.run("shell", "-c", NOTE_RELEASE, check=0, env={"APP_VERSION": "1.0.1"})
    make = 'migrations.CreateModel("Item", [("id", models.BigAutoField(primary_key=True))]),'
    write(shop, [make])
    project.run("migrate", "shop", "0002_change", "--fake", check=0, env=NEW)
    release(make, MUST)
    way = plan(project, code=1, version="1.0.1")
    assert way["decision"] == "restore"
    assert {"what": "shop_item", "why": NEEDED} in way["obstacles"]


@PG15
def test_back_to_the_last_of_migrations_that_were_squashed_since(project, database, shop, release):
    release(MUST)
    squash = MIGRATION.format(
        atomic=True,
        replaces=[("shop", "0001_initial")],
        dependencies='("deploy_ops", "0002_contract_rows")',
        operations=SQUASHED,
    )
    (shop.migrations_dir / "0001_squashed.py").write_text(squash)
    assert plan(project, code=1)["undone"] == ["shop.0002_change"]
    ask(project, code=0)
    assert columns(database) == {"id", "note"}


@PG15
def test_a_release_that_was_never_here(project, shop):
    told = project.run("rollback", "--to", "v0.9.0", check=1, env=NEW).stderr
    assert "not released into this database from this host. Releases known here: 1.0.0." in told


@PG15
def test_the_version_of_the_code_itself_is_refused(project, release):
    release(NOTHING)
    told = project.run("rollback", "--to", "v1.1.0", "--plan", check=1, env=NEW).stderr
    assert "1.1.0 is the version of this code" in told


@PG15
def test_a_damaged_record_is_not_taken_for_a_release_that_needs_little(project, release):
    release(MUST)
    releases = project.journal(project.ops_dir / "releases.jsonl")
    for text in ("{", '{"tables": {}}', '{"tables": {"shop_order": []}}'):
        for each in releases:
            (project.ops_dir / "schemas" / f"{each['schema']}.json").write_text(text)
        told = project.run("rollback", "--to", "v1.0.0", "--plan", check=1, env=NEW).stderr
        assert "in DEPLOY_OPS_STATE_DIR, is gone or damaged. Nothing was changed." in told


@PG15
def test_only_the_newest_code_can_tell(project, shop, release):
    release(MUST)
    shop.remove_behind("0001")
    told = project.run("rollback", "--to", "v1.0.0", "--plan", check=1, env=NEW).stderr
    assert "shop.0002_change is applied and not in this code" in told


@PG15
def test_a_release_without_migrations_is_known_after_postdeploy(project, database, shop):
    """It is noted with what it needs, so that the way back to it can be told."""
    refused = project.run("rollback", "--to", "1.0.1", "--plan", check=1, env=NEW)
    assert "Releases known here: 1.0.0" in refused.stderr
    project.run("shell", "-c", NOTE_RELEASE, check=0, env={"APP_VERSION": "1.0.1"})
    assert plan(project, code=0, version="1.0.1")["decision"] == "code_only"


@PG15
def test_back_and_forth_the_older_release_still_ends_where_it_ended(project, release):
    """It was released a second time, after the newer one, whose migrations it does not have."""
    release(MUST)
    project.run("shell", "-c", NOTE_RELEASE, check=0, env={"APP_VERSION": "1.1.0"})
    assert plan(project, code=1)["undone"] == ["shop.0002_change"]


@PG15
def test_the_checklist(project, shop, database):
    newer = NEW | {"DJANGO_SETTINGS_MODULE": "tests.deploy_ops.release.flagged_settings"}

    def found():
        way = project.json("rollback", "--to", "1.0.0", "--plan", check=0, env=newer)
        return {each["id"][-4:]: each for each in way["findings"]}

    first = found()
    assert first["R021"]["message"].startswith("Whether the files and dependencies of v1.0.0")
    assert first["R022"]["level"] == "info"
    assert first["R023"]["message"] == "There is no backup of this database."
    assert first["R025"]["message"].startswith("Flags are on that 1.0.0 does not know: export.")
    assert "R029" in first and "R024" not in first
    project.run("backup", check=0)
    with database.connect() as session:
        session.execute("SET application_name = 'gunicorn release=1.1.0'")
        later = found()
    assert later["R023"]["level"] == "info"
    assert "gunicorn release=1.1.0" in later["R026"]["message"]


def outlook(project, **env):
    findings = project.json("predeploy", check=0, env=env)["findings"]
    [told] = [each for each in findings if each["id"] == "deploy_ops.R013"]
    return told["level"], told["message"]


@PG15
def test_the_release_before_is_none_that_a_restore_took_back(project, release, database):
    taken = release('migrations.AddField("order", "kind", models.IntegerField(null=True)),')[
        "backup"
    ]
    how = "--in-place", "--noinput", "--confirm", database.name
    assert outlook(project, APP_VERSION="1.2.0")[1].startswith("The way back to 1.1.0 ")
    project.run("restore", taken, *how, check=0)
    assert outlook(project, APP_VERSION="1.2.0")[1].startswith("The way back to 1.0.0 ")


@PG15
def test_the_way_back_is_told_before_there_is_one(project, shop):
    """Of 1.0.0 itself nothing is before it; a removal in two phases keeps the way, at once not."""
    level, told = outlook(project, APP_VERSION="1.0.0")
    assert level == "info"
    assert "No release before this one was recorded" in told
    shop.models(WITHOUT_NOTE)
    project.run("make_two_phase", "shop", "--noinput", check=0)
    assert outlook(project, **NEW) == ("info", "The way back to 1.0.0 takes code only.")

    project.settings(DEPLOY_OPS_TWO_PHASE=False)
    level, told = outlook(project, **NEW)
    assert level == "warning"
    assert "The way back to 1.0.0 takes more than code:" in told
    assert "Undoing may lose data, or is not possible: shop.0002" in told
    [schema] = (project.ops_dir / "schemas").iterdir()
    schema.write_text('{"tables": {}}')
    level, told = outlook(project, **NEW)
    assert level == "warning"
    assert f"its record, schemas/{schema.name} in DEPLOY_OPS_STATE_DIR, is gone or damaged" in told
