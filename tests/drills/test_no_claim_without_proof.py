"""A step without a transaction that fails or is killed: nothing is said of it that is not known.

Alone, it is answered by the backup. With anybody else connected a person has to look, and the next
run does not run it again unasked.
"""

import signal
from contextlib import closing

import pytest

from tests.drills.portraits import portrait
from tests.sample_apps.written import WrittenApp

POSTGRESQL = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
HALF = [("first", 10), ("second", 0), ("third", 30)]
DOUBLED_ONCE = [("first", 20), ("second", 0), ("third", 30)]
WAYS_TO_END = ["commit", "rollback", "COMMIT", "ROLLBACK", "END"]


@pytest.fixture
def others(project):
    """A session of somebody else; SQLite knows of others only when they write."""
    if project.database.vendor == "sqlite":
        pytest.skip("SQLite has no sessions")
    # A restore that is tried ends the sessions of others.
    with closing(project.database.connect()) as connection:
        connection.execute("SELECT 1")
        yield connection


def previous(project, result):
    """The failed database that a restore put aside."""
    return project.database.beside(result["recovery"]["previous_database"])


def needs_a_person(project, run: str, rows) -> None:
    """Assert that the next run refuses to run the step again, and says how to go on."""
    again = project.run("safe_migrate", check=4)
    assert "what that wrote is not known" in again.stderr
    assert f"python manage.py safe_migrate --resolved {run}" in again.stderr
    assert rows() == rows.expected


class Rows:
    """The rows that are expected, and a way to read them."""

    def __init__(self, project, app, expected):
        self.expected = expected
        self._read = lambda: project.trips(app)

    def __call__(self):
        return self._read()


def test_failed_half_way_with_nobody_else_there_is_restored(deployed):
    project = deployed("doubled_in_batches", trips=HALF)
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3)

    assert result["recovery"]["rung"] == "restored"
    assert portrait(project.database) == before
    failed = previous(project, result).query(
        "SELECT purpose, km FROM doubled_in_batches_trip ORDER BY id"
    )
    assert failed == DOUBLED_ONCE


@POSTGRESQL
def test_a_view_that_a_restore_computed_otherwise_needs_a_person(deployed):
    """It had not been refreshed, so a restore cannot give back the rows that it had."""
    project = deployed("doubled_in_batches", trips=HALF)
    project.database.execute(
        "CREATE MATERIALIZED VIEW number AS SELECT count(*) FROM doubled_in_batches_trip;"
        "CREATE MATERIALIZED VIEW fresh AS SELECT count(*) FROM doubled_in_batches_trip"
    )
    project.database.execute("INSERT INTO doubled_in_batches_trip (purpose, km) VALUES ('late', 1)")
    project.database.execute("REFRESH MATERIALIZED VIEW fresh")

    recovery = project.json("safe_migrate", check=4)["recovery"]

    assert recovery["rung"] == "manual_intervention"
    assert "is live again: every table has as many rows as were backed up" in recovery["message"]
    assert "Materialized view public.number has other rows than at" in recovery["message"]
    assert "public.fresh" not in recovery["message"]
    assert project.trips("doubled_in_batches") == [*HALF, ("late", 1)]


def test_failed_half_way_with_others_connected_needs_a_person(deployed, others):
    project = deployed("doubled_in_batches", trips=HALF)

    result = project.json("safe_migrate", check=4)

    message = result["recovery"]["message"]
    assert result["recovery"]["rung"] == "manual_intervention"
    assert "What doubled_in_batches.0002_double wrote is not known" in message
    assert "whether others wrote since the backup began cannot be known any more" in message
    others.execute("SELECT 1")  # no restore was tried that could only have ended sessions
    assert project.trips("doubled_in_batches") == DOUBLED_ONCE
    needs_a_person(project, result["run"], Rows(project, "doubled_in_batches", DOUBLED_ONCE))


def test_rows_of_others_meanwhile_stop_the_restore(deployed):
    project = deployed("doubled_in_batches", trips=HALF)
    acknowledged = "INSERT INTO doubled_in_batches_trip (purpose, km) VALUES ('of another', 7)"
    project.env["MEANWHILE"] = f'{{"failing": ["{acknowledged}"]}}'

    result = project.json("safe_migrate", check=4)

    assert result["recovery"]["rung"] == "manual_intervention"
    assert "others" in result["recovery"]["message"]
    assert project.trips("doubled_in_batches") == [*DOUBLED_ONCE, ("of another", 7)]
    project.env["MEANWHILE"] = "{}"
    expected = [*DOUBLED_ONCE, ("of another", 7)]
    needs_a_person(project, result["run"], Rows(project, "doubled_in_batches", expected))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_step_that_fails_after_it_is_recorded_is_said_to_be_there(project):
    """Django records a step without a transaction before SQLite looks at its foreign keys."""
    shop = WrittenApp(project.directory)
    shop.migration("0001_initial", "migrations.RunSQL(migrations.RunSQL.noop)")
    orphan = """
        migrations.RunSQL(
            "CREATE TABLE trip (id integer PRIMARY KEY);"
            "CREATE TABLE receipt (id integer PRIMARY KEY, trip_id integer REFERENCES trip (id));"
            "INSERT INTO receipt VALUES (1, 999)"
        )
    """
    shop.migration("0002_orphan", orphan, atomic=False)
    project.with_apps(shop.name)
    project.run("migrate", "shop", "0001", check=0)
    shop_only = ("safe_migrate", "shop", "--no-backup", "--allow", "L105")

    result = project.json(*shop_only, check=4)

    message = result["recovery"]["message"]
    assert "0002_orphan failed: IntegrityError" in result["error"]
    assert "Committed by this run and still there: shop.0002_orphan." in message
    assert "It is recorded as done, although it failed. Look at its tables before" in message
    assert result["recovery"]["applied"] == [["shop", "0002_orphan"]]
    assert project.database.query("SELECT trip_id FROM receipt") == [(999,)]
    assert "shop.0002_orphan is recorded" in project.run(*shop_only, check=0).stdout


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
@pytest.mark.parametrize("name", ["search_path = ''", "statement_timeout = 1"])
def test_what_a_failed_step_has_set_is_gone_with_its_session(project, name):
    """Among them what pasted dumps set: without a search_path no table of Django's is found."""
    shop = WrittenApp(project.directory)
    shop.migration("0001_note", 'migrations.RunSQL("CREATE TABLE note (id integer)")')
    set_and_fail = f"""
        migrations.RunSQL("INSERT INTO note VALUES (1)"),
        migrations.RunPython(lambda apps, editor: (editor.execute("SET {name}"), 1 / 0))
    """
    shop.migration("0002_step", set_and_fail, atomic=False)
    project.with_apps(shop.name)
    project.run("migrate", "shop", "0001", check=0)

    result = project.json("safe_migrate", "shop", "--no-backup", check=4)

    assert "What shop.0002_step wrote is not known" in result["recovery"]["message"]
    assert "The schema equals the one before the run" in result["recovery"]["message"]


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
@pytest.mark.parametrize("atomic", [True, False])
def test_a_lock_timeout_that_code_has_set_is_none_for_the_next_step(project, atomic):
    shop = WrittenApp(project.directory)
    shop.migration("0001_note", 'migrations.RunSQL("CREATE TABLE note (id integer)")')
    shop.migration("0002_set", 'migrations.RunSQL("SET lock_timeout = 0")', atomic=atomic)
    shop.migration("0003_add", 'migrations.RunSQL("ALTER TABLE note ADD COLUMN km integer")')
    project.with_apps(shop.name)
    project.run("migrate", "shop", "0001", check=0)
    with closing(project.database.connect()) as reader, reader.transaction():
        reader.execute("SELECT * FROM note")
        result = project.json("safe_migrate", "shop", "--no-backup", "--lock-retries", "0")
    assert "shop.0003_add failed: OperationalError: canceling statement due to lock timeout" in (
        result["error"]
    )


def test_killed_half_way_is_not_run_again_unasked(deployed):
    project = deployed("doubled_in_batches", trips=HALF)
    killed = project.run("safe_migrate", env={"MEANWHILE": '{"failing": ["kill"]}'})
    assert killed.code == -signal.SIGKILL
    [run] = [path.stem for path in project.runs()]

    needs_a_person(project, run, Rows(project, "doubled_in_batches", DOUBLED_ONCE))
    needs_a_person(project, run, Rows(project, "doubled_in_batches", DOUBLED_ONCE))


def test_resolved_by_a_person_it_goes_on(deployed):
    project = deployed("doubled_in_batches", trips=HALF)
    project.run("safe_migrate", env={"MEANWHILE": '{"failing": ["kill"]}'})
    [run] = [path.stem for path in project.runs()]
    project.database.execute("UPDATE doubled_in_batches_trip SET km = 10 WHERE purpose = 'first'")
    project.database.execute("UPDATE doubled_in_batches_trip SET km = 5 WHERE purpose = 'second'")

    project.run("safe_migrate", "--resolved", run, check=0)

    assert project.trips("doubled_in_batches") == [("first", 20), ("second", 10), ("third", 60)]


def test_restored_by_a_person_it_goes_on(deployed):
    project = deployed("doubled_in_batches", trips=HALF)
    before = portrait(project.database)
    project.run("safe_migrate", env={"MEANWHILE": '{"failing": ["kill"]}'})
    refused = project.run("safe_migrate", check=4)
    [line] = [line for line in refused.stderr.splitlines() if "manage.py restore" in line]
    backup = line.split()[3]

    project.run("restore", backup, "--noinput", "--confirm", project.database.name, check=0)
    assert portrait(project.database) == before

    again = project.json("safe_migrate", check=3)
    assert again["recovery"]["rung"] == "restored"
    assert portrait(project.database) == before


@POSTGRESQL
def test_a_lost_race_for_a_lock_is_not_run_twice(deployed, others):
    project = deployed("doubled_in_batches", trips=[("first", 10), ("second", 20)])
    others.execute(
        "BEGIN; SELECT * FROM doubled_in_batches_trip WHERE purpose = 'second' FOR UPDATE"
    )

    result = project.json("safe_migrate", "--lock-timeout", "200ms", check=4)

    assert project.trips("doubled_in_batches") == [("first", 20), ("second", 20)]
    assert "lock timeout" in result["error"]
    assert "is not known" in result["recovery"]["message"]
    once = Rows(project, "doubled_in_batches", [("first", 20), ("second", 20)])
    needs_a_person(project, result["run"], once)


def test_deleted_rows_come_back_where_nobody_else_is_there(deployed):
    project = deployed("deleted_before_a_check")
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3)

    assert result["recovery"]["rung"] == "restored"
    assert portrait(project.database) == before


def test_deleted_rows_are_in_the_backup_where_others_are_connected(deployed, others, trips):
    project = deployed("deleted_before_a_check")

    result = project.json("safe_migrate", check=4)

    assert "What deleted_before_a_check.0002_delete_short_trips wrote is not known" in (
        result["recovery"]["message"]
    )
    assert "as they were" not in result["recovery"]["message"]
    assert project.trips("deleted_before_a_check") == [("Messe", 410)]
    others.close()
    restore = ("restore", result["backup"], "--noinput", "--confirm", project.database.name)
    project.run(*restore, check=0)
    assert project.trips("deleted_before_a_check") == trips


def test_sql_that_commits_for_itself_counts_as_without_transaction(deployed):
    project = deployed("begins_and_commits")
    before = portrait(project.database)

    result = project.json("safe_migrate", "--allow", "L202", check=3)

    assert result["recovery"]["rung"] == "restored"
    assert portrait(project.database) == before


def test_sql_that_commits_for_itself_with_others_connected(deployed, others):
    project = deployed("begins_and_commits")

    result = project.json("safe_migrate", "--allow", "L202", check=4)

    assert "What begins_and_commits.0002_double wrote is not known" in result["recovery"]["message"]
    doubled = [("Kundentermin", 240), ("Messe", 820)]
    assert project.trips("begins_and_commits") == doubled
    needs_a_person(project, result["run"], Rows(project, "begins_and_commits", doubled))


@pytest.mark.parametrize("how", WAYS_TO_END)
def test_code_that_ends_its_transaction_with_nobody_else_there(deployed, how):
    project = deployed("ends_its_transaction")
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3, env={"ENDS_BY": how})

    assert result["recovery"]["rung"] in ("restored", "rolled_back")
    assert portrait(project.database) == before


@pytest.mark.parametrize("how", WAYS_TO_END)
def test_code_that_ends_its_transaction_with_others_connected(deployed, others, how, trips):
    project = deployed("ends_its_transaction")

    result = project.json("safe_migrate", check=4, env={"ENDS_BY": how})

    assert "What ends_its_transaction.0002_double wrote is not known" in (
        result["recovery"]["message"]
    )
    emptied = [(purpose, 0) for purpose, _ in trips]
    rows = trips if how.lower() == "rollback" else emptied
    assert project.trips("ends_its_transaction") == rows
    needs_a_person(project, result["run"], Rows(project, "ends_its_transaction", rows))


@pytest.mark.parametrize("how", ["commit", "COMMIT", "ROLLBACK"])
def test_code_that_ends_its_transaction_is_told_even_if_it_then_succeeds(deployed, how):
    project = deployed("ends_its_transaction")
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3, env={"ENDS_BY": how, "SUCCEEDS": "1"})

    assert portrait(project.database) == before
    assert "atomic = False" in result["error"]


def test_killed_after_it_ended_its_transaction(deployed, trips):
    project = deployed("ends_its_transaction")
    env = {"ENDS_BY": "commit", "MEANWHILE": '{"failing": ["kill"]}'}
    assert project.run("safe_migrate", env=env).code == -signal.SIGKILL
    [run] = [path.stem for path in project.runs()]
    emptied = [(purpose, 0) for purpose, _ in trips]
    project.env["ENDS_BY"] = "commit"
    needs_a_person(project, run, Rows(project, "ends_its_transaction", emptied))
