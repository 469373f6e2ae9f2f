"""Code that changes what no counter of rows shows, or not where it is looked for.

Nothing is said of it that is not true: what it changed is undone by restoring the backup, or left to
a person.
"""

import json
import signal

import pytest

from tests.drills.portraits import portrait

APP = "unwound_by_belief"
DOUBLE = f"UPDATE {APP}_trip SET km = km * 2"
DOUBLED = [("Kundentermin", 240), ("Messe", 820)]

pytestmark = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)


@pytest.fixture
def unwound(deployed):
    """The app, with another alias of the same database."""
    import environ

    project = deployed(APP)
    url = environ.Env.db_url_config(project.database.url)
    project.settings(DATABASES={"default": url, "again": url})
    return project


@pytest.mark.parametrize(
    ("before", "forwards"),
    [
        pytest.param(
            f"ALTER TABLE {APP}_trip ADD COLUMN note text DEFAULT 'x'",
            f"ALTER TABLE {APP}_trip DROP COLUMN note;"
            f" ALTER TABLE {APP}_trip ADD COLUMN note text DEFAULT 'x'",
            id="a column made anew",
        ),
        pytest.param(
            "SELECT lo_from_bytea(4711, 'abc')", "SELECT lo_unlink(4711)", id="a large object"
        ),
        pytest.param(
            "CREATE SCHEMA other; CREATE TABLE other.django_migrations AS SELECT 1 AS number",
            "UPDATE other.django_migrations SET number = 2",
            id="a table of the same name in another schema",
        ),
    ],
)
def test_changed_where_no_row_of_a_known_table_tells(unwound, before, forwards):
    unwound.database.execute(before)
    whole = portrait(unwound.database)

    result = unwound.json("safe_migrate", env={"FORWARDS": forwards}, check=3)

    assert result["recovery"]["rung"] == "restored"
    assert portrait(unwound.database) == whole


def test_a_setting_of_the_database_is_changed(unwound):
    name = unwound.database.name

    result = unwound.json(
        "safe_migrate",
        "--on-failure",
        "reverse",
        env={"FORWARDS": f"ALTER DATABASE {name} SET work_mem = '8MB'"},
        check=4,
    )

    assert "changed rows of pg_db_role_setting" in result["recovery"]["message"]


@pytest.mark.parametrize("way", ["after its commit", "in a thread", "over another alias"])
def test_rows_written_outside_its_transaction_are_not_reversed_but_restored(unwound, way, trips):
    result = unwound.json("safe_migrate", env={"FORWARDS": DOUBLE, "WAY": way}, check=3)

    assert result["recovery"]["rung"] == "restored"
    assert unwound.trips(APP) == trips


@pytest.mark.parametrize("way", ["in a thread", "over another alias"])
@pytest.mark.parametrize("how", ["atomic", "NOT_ATOMIC"])
def test_rows_written_over_other_connections_before_a_failure(unwound, way, how):
    env = {"FORWARDS": DOUBLE, "WAY": way, "FAILS": "1", how: "1"}

    result = unwound.json("safe_migrate", "--no-backup", env=env, check=4)

    assert f"What {APP}.0002_code wrote is not known" in result["recovery"]["message"]
    assert "left nothing behind" not in result["recovery"]["message"]
    assert "other connections" in result["recovery"]["message"] or way == "in a thread"
    assert unwound.trips(APP) == DOUBLED


def test_what_it_put_off_until_its_commit_fails(unwound):
    result = unwound.json(
        "safe_migrate",
        APP,
        "0002",
        "--no-backup",
        env={"FORWARDS": "SELECT 1 / 0", "WAY": "after its commit"},
        check=4,
    )

    assert "division by zero" in result["error"]
    assert f"Committed by this run and still there: {APP}.0002_code" in (
        result["recovery"]["message"]
    )


def test_a_database_is_left_by_a_step_without_a_transaction(unwound):
    cluster = unwound.database.cluster
    env = {"FORWARDS": f"CREATE DATABASE {unwound.database.name}_new", "NOT_ATOMIC": "1"}

    result = unwound.json("safe_migrate", "--no-backup", env=env | {"FAILS": "1"}, check=4)

    assert "databases and roles changed" in result["recovery"]["message"]
    assert f"{unwound.database.name}_new" in cluster.databases()


def test_a_policy_hides_rows_of_others_in_a_new_column(deployed):
    """They are looked at all the same, or nothing is dropped."""
    project = deployed("adds_and_fails")
    acts = [
        "UPDATE adds_and_fails_trip SET note = 'of another'",
        "CREATE POLICY own ON adds_and_fails_trip USING (purpose = current_setting('a.b', true))",
        "ALTER TABLE adds_and_fails_trip ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE adds_and_fails_trip FORCE ROW LEVEL SECURITY",
    ]
    env = {"MEANWHILE": json.dumps({"applied": acts})}

    result = project.json("safe_migrate", env=env, check=4)

    project.database.execute("ALTER TABLE adds_and_fails_trip NO FORCE ROW LEVEL SECURITY")
    assert project.database.query("SELECT DISTINCT note FROM adds_and_fails_trip") == [
        ("of another",)
    ]
    assert "row-level security" in result["recovery"]["message"]


def test_a_policy_hides_rows_of_others_in_a_new_table(deployed):
    project = deployed("adds_and_fails")
    acts = [
        "INSERT INTO adds_and_fails_receipt (cents, trip_id) VALUES (5, 1)",
        "ALTER TABLE adds_and_fails_receipt ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE adds_and_fails_receipt FORCE ROW LEVEL SECURITY",
    ]
    env = {"MEANWHILE": json.dumps({"applied": acts})}

    result = project.json("safe_migrate", env=env, check=4)

    project.database.execute("ALTER TABLE adds_and_fails_receipt NO FORCE ROW LEVEL SECURITY")
    assert project.database.query("SELECT cents FROM adds_and_fails_receipt") == [(5,)]
    assert "row-level security" in result["recovery"]["message"]


def test_a_trigger_wrote_to_a_table_that_was_there_before(deployed):
    project = deployed("adds_and_fails")
    project.database.execute(
        "CREATE TABLE audit (what text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN INSERT INTO audit VALUES (new.name); RETURN new; END$$;"
        "CREATE TRIGGER note AFTER INSERT ON django_migrations FOR EACH ROW EXECUTE FUNCTION note()"
    )

    result = project.json("safe_migrate", "--on-failure", "reverse", check=4)

    assert "made triggers change rows of audit" in result["recovery"]["message"]
    assert project.database.query("SELECT what FROM audit") == [
        ("0002_note",),
        ("0003_receipt",),
        ("0004_announce",),
    ]


def test_a_server_that_counts_no_rows(deployed):
    project = deployed("unwound_by_belief")
    cluster, name = project.database.cluster, project.database.name
    cluster.execute(f"ALTER DATABASE {name} SET track_counts = off")

    result = project.json(
        "safe_migrate", "--on-failure", "reverse", env={"FORWARDS": DOUBLE}, check=4
    )

    assert "runs code, and what that changed is not known" in result["recovery"]["message"]
    assert project.trips(APP) == DOUBLED


@pytest.mark.parametrize("way", ["in a thread", "over another alias"])
def test_killed_after_it_wrote_over_another_connection_it_is_not_run_again(unwound, way):
    env = {"FORWARDS": DOUBLE, "WAY": way}
    killed = unwound.run("safe_migrate", env=env | {"KILLED": "yes"})
    assert killed.code == -signal.SIGKILL and unwound.trips(APP) == DOUBLED

    again = unwound.run("safe_migrate", env=env, check=4)

    assert "what that wrote is not known" in again.stderr
    assert unwound.trips(APP) == DOUBLED


@pytest.mark.parametrize(
    ("statement", "named", "point"),
    [
        ("ALTER DATABASE {} SET timezone = 'UTC'", "settings", "dump"),
        ("COMMENT ON DATABASE {} IS 'half-way'", "comment", "dump"),
        ("GRANT CREATE ON DATABASE {} TO PUBLIC", "acl", "clone"),
    ],
)
def test_what_was_set_for_the_database_itself_is_not_restored(unwound, statement, named, point):
    name = unwound.database.name
    env = {"FORWARDS": statement.format(name), "NOT_ATOMIC": "yes", "FAILS": "yes"}

    recovery = unwound.json("safe_migrate", "--safety", point, env=env, check=4)["recovery"]

    assert "is live again" in recovery["message"]
    kind = {"dump": "backup"}.get(point, point)
    assert f"is not as at the {kind}: {named}." in recovery["message"]
    assert "--no-backup" not in recovery["message"]
