"""Names with spaces, umlauts and quotes, tables of others, and histories that Django allows."""

import json
import shlex

import pytest

from tests.drills.conftest import with_two_of_three_applied
from tests.drills.portraits import portrait

POSTGRESQL = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
TRIPS = '"Größe der Fahrt\'s Liste"'


@pytest.fixture
def odd(project):
    """The first release of an app whose table has a name of many kinds of characters."""
    project.with_apps("odd_names")
    for ours in ("auth", "deploy_ops"):
        project.run("migrate", ours, check=0)
    project.run("migrate", "odd_names", "0001", check=0)
    project.database.execute(f"INSERT INTO {TRIPS} (purpose, km) VALUES ('Messe', 410)")
    project.database.execute('CREATE TABLE "Liste ""alt""" ("Wert ""neu""" text)')
    project.database.execute('INSERT INTO "Liste ""alt""" VALUES (\'it\'\'s\')')
    return project


def test_odd_names_are_migrated(odd):
    plan = odd.run("safe_migrate", "--plan", check=0)
    assert "Reise Belege" in plan.stdout
    odd.run("safe_migrate", check=0, env={"SUCCEEDS": "1"})
    assert "Reise Belege" in odd.database.schema()


def test_odd_names_are_reversed(odd):
    before = portrait(odd.database)
    result = odd.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "reversed"
    assert portrait(odd.database) == before


@POSTGRESQL
def test_rows_in_a_new_table_with_an_odd_name_are_kept(odd):
    before = portrait(odd.database)
    acts = {"failing": ['INSERT INTO "Reise Belege" ("Betrag in Cent") VALUES (999)']}
    result = odd.json("safe_migrate", check=3, env={"MEANWHILE": json.dumps(acts)})
    [kept] = result["recovery"]["kept_tables"]
    assert kept in result["recovery"]["message"]
    assert odd.database.query(f'SELECT "Betrag in Cent" FROM {kept}') == [(999,)]
    assert portrait(odd.database) == before


def test_a_database_with_odd_names_is_restored(odd):
    before = portrait(odd.database)
    backup = odd.json("backup", check=0)["backup"]
    odd.database.execute(f"DELETE FROM {TRIPS}")
    backup = backup if isinstance(backup, str) else backup["id"]
    odd.run("restore", backup, "--noinput", "--confirm", odd.database.name, check=0)
    assert portrait(odd.database) == before


@POSTGRESQL
def test_an_invalid_index_with_a_space_in_its_name_is_cleared_away(deployed):
    project = deployed("index_with_a_space", trips=[("Messe", 0)])
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "rolled_back"
    assert project.database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


@POSTGRESQL
def test_an_invalid_index_of_somebody_else_stays_and_is_not_told(deployed):
    project = deployed("good_expand", trips=[("Messe", 1), ("Messe", 1)])
    build = 'CREATE UNIQUE INDEX CONCURRENTLY "Reise Zweck" ON good_expand_trip (purpose)'
    with pytest.raises(Exception, match="could not create unique index"):
        project.database.execute(build)
    result = project.json("safe_migrate", check=0)
    assert "deploy_ops.V002" not in {each["id"] for each in result["findings"]}
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    assert project.database.query(invalid) == [('"Reise Zweck"',)]


@POSTGRESQL
def test_an_index_on_only_the_parent_is_no_finding(deployed):
    project = deployed("index_on_only")
    result = project.json("safe_migrate", check=0)
    assert "deploy_ops.V002" not in {each["id"] for each in result["findings"]}
    project.json("backup", check=0)


@POSTGRESQL
@pytest.mark.parametrize(
    "app,code,rung",
    [
        ("fails_in_its_transaction", 3, "rolled_back"),
        ("bad_third", 3, "reversed"),
        ("drops_and_fails", None, None),
    ],
)
def test_a_table_of_another_role(deployed, app, code, rung):
    project = deployed(app)
    name = project.database.name
    for statement in (
        "CREATE TABLE payroll (n int)",
        "INSERT INTO payroll VALUES (5)",
        "GRANT SELECT ON payroll TO app",
    ):
        project.database.cluster.execute(statement, dbname=name)
    before = portrait(project.database)

    result = project.run("safe_migrate", "--format", "json", check=code)

    assert "Traceback" not in result.stderr
    assert project.database.query("SELECT n FROM payroll") == [(5,)]
    if result.code == 3:
        assert portrait(project.database) == before
        assert rung in (None, result.json()["recovery"]["rung"])
    else:
        assert result.code in (1, 4), result


@pytest.mark.parametrize("argv", [(), ("--plan",)])
def test_both_lists_of_a_separate_state_change_the_same(deployed, argv):
    project = deployed("separate_state")
    before = portrait(project.database)
    result = project.run("safe_migrate", *argv, check=0 if argv else 3)
    assert "Traceback" not in result.stderr
    assert "0003_table_and_model" in result.stdout
    assert portrait(project.database) == before


def test_a_squash_of_three_with_two_applied(project):
    with_two_of_three_applied(project)

    result = project.json("safe_migrate", check=0)

    assert result["applied"] == [["squashed_three", "0003_place"]]
    assert ("post_migrate", 0) in project.trips("squashed_three")
    assert result["run"] in (project.ops_dir / "releases.jsonl").read_text()
    recorded = project.database.query(
        "SELECT count(*) FROM django_migrations WHERE app = 'squashed_three'"
    )
    assert recorded == [(4,)]


@POSTGRESQL
def test_commands_in_messages_name_the_database_and_can_be_pasted(deployed):
    import environ

    project = deployed("doubled_in_batches", trips=[("first", 10), ("second", 0)])
    url = environ.Env.db_url_config(project.database.url)
    project.settings(DATABASES={"default": {}, "reise db": url})
    with project.database.connect() as other:
        other.execute("SELECT 1")
        result = project.run("safe_migrate", "--database", "reise db", check=4)
        again = project.run("safe_migrate", "--database", "reise db", check=4)
        other.close()
    advised = [
        line.strip().split("#")[0]
        for line in (result.stderr + again.stderr).splitlines()
        if "python manage.py" in line
    ]
    assert len(advised) >= 4
    for line in advised:
        words = shlex.split(line)
        assert words[words.index("--database") + 1] == "reise db", line


def test_a_full_journal_names_the_database(deployed):
    import environ

    project = deployed("good_expand")
    url = environ.Env.db_url_config(project.database.url)
    project.settings(DATABASES={"default": {}, "reise db": url})
    env = {"RAISE_AT": "journal:migration_applied:before"}
    result = project.run("safe_migrate", "--database", "reise db", env=env, check=4)
    assert "python manage.py safe_migrate --database 'reise db'" in result.stderr
