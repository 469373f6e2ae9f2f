"""What others do while a run applies, fails and recovers: their work stays, and the words are true."""

import json

import pytest

from tests.drills.portraits import portrait

POSTGRESQL = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
LOCK = 20261126


@pytest.fixture
def meanwhile(project):
    """Plan what others do at a point of the sample app."""

    def plan(**points):
        project.env["MEANWHILE"] = json.dumps(points)

    yield plan


def names(project, app):
    rows = project.database.query(f"SELECT name FROM django_migrations WHERE app = '{app}'")
    return sorted(name for (name,) in rows)


@POSTGRESQL
def test_an_atomic_step_rolls_back_whatever_others_build(deployed, meanwhile, trips):
    project = deployed("fails_in_its_transaction")
    meanwhile(
        failing=[
            "CREATE INDEX CONCURRENTLY of_another ON auth_user (email)",
            "CREATE FUNCTION of_another() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TABLE stage (day int) PARTITION BY RANGE (day)",
            "CREATE TABLE stage_first PARTITION OF stage FOR VALUES FROM (0) TO (9)",
            "INSERT INTO stage VALUES (5)",
            "INSERT INTO fails_in_its_transaction_trip (purpose, km) VALUES ('of another', 7)",
        ]
    )

    result = project.json("safe_migrate", check=3)

    assert result["recovery"]["rung"] == "rolled_back"
    assert "PostgreSQL says that its transaction" in result["recovery"]["message"]
    assert project.trips("fails_in_its_transaction") == [*trips, ("of another", 7)]
    assert project.database.query("SELECT * FROM stage") == [(5,)]
    assert project.database.query("SELECT of_another(), to_regclass('of_another') IS NULL") == [
        (1, False)
    ]
    assert len(project.database.databases()) == 1


def test_the_sentence_is_about_the_one_database(deployed, tmp_path, trips):
    import environ

    from tests.project.databases import SqliteDatabase

    project = deployed("writes_elsewhere")
    archive = SqliteDatabase(tmp_path / "archive.sqlite3")
    archive.execute("CREATE TABLE exported (purpose text)")
    url = environ.Env.db_url_config
    project.settings(DATABASES={"default": url(project.database.url), "archive": url(archive.url)})
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3)

    message = result["recovery"]["message"]
    assert result["recovery"]["rung"] == "rolled_back"
    assert portrait(project.database) == before
    assert f"left nothing behind in database {project.database.name}" in message
    assert "other databases" in message and "was not looked at" in message
    assert archive.query("SELECT * FROM exported") == [("Messe",)]


@POSTGRESQL  # SQLite has one writer, and at this point it is the run
def test_a_new_column_with_values_of_others_is_not_dropped(deployed, meanwhile, trips):
    project = deployed("adds_and_fails")
    meanwhile(failing=["UPDATE adds_and_fails_trip SET note = 'of another' WHERE km = 410"])

    result = project.json("safe_migrate", check=4)

    assert result["recovery"]["rung"] == "manual_intervention"
    assert "adds_and_fails_trip.note is new, and rows have values in it" in (
        result["recovery"]["message"]
    )
    notes = project.database.query("SELECT note FROM adds_and_fails_trip WHERE km = 410")
    assert notes == [("of another",)]
    assert names(project, "adds_and_fails") == [
        "0001_initial",
        "0002_note",
        "0003_receipt",
        "0004_announce",
    ]


@POSTGRESQL  # SQLite has one writer, and at this point it is the run
def test_a_new_table_with_rows_of_others_is_kept(deployed, meanwhile, trips):
    project = deployed("adds_and_fails")
    before = portrait(project.database)
    meanwhile(failing=["INSERT INTO adds_and_fails_receipt (cents, trip_id) VALUES (999, 1)"])

    result = project.json("safe_migrate", check=3)

    assert result["recovery"]["rung"] == "reversed"
    [kept] = result["recovery"]["kept_tables"]
    assert kept in result["recovery"]["message"]
    assert project.database.query(f"SELECT cents, trip_id FROM {kept}") == [(999, 1)]
    assert portrait(project.database) == before


@POSTGRESQL  # SQLite has one writer, and at this point it is the run
def test_rows_of_others_in_tables_from_before_survive_a_reverse(deployed, meanwhile, trips):
    project = deployed("adds_and_fails")
    meanwhile(failing=["INSERT INTO adds_and_fails_trip (purpose, km) VALUES ('of another', 7)"])
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "reversed"
    assert project.trips("adds_and_fails") == [*trips, ("of another", 7)]


@POSTGRESQL
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO adds_and_fails_receipt (cents, trip_id) VALUES (999, 1)",
        "UPDATE adds_and_fails_trip SET note = 'of another'",
    ],
)
def test_while_it_is_undone_nobody_can_fill_what_goes(deployed, meanwhile, trips, statement):
    """The other session waits for the lock, and its statement is refused: never acknowledged."""
    project = deployed("adds_and_fails")
    meanwhile(reversing=[statement])

    result = project.json("safe_migrate", "--lock-retries", "0")

    [failed] = [s for s in project.journal() if s["step"] == "migration_failed"][1:]
    assert "LockNotAvailable" in failed["error"]
    assert result["recovery"]["rung"] in ("restored", "manual_intervention")
    assert project.trips("adds_and_fails") == trips


@POSTGRESQL
def test_what_another_process_applied_meanwhile_is_never_reversed(deployed, meanwhile, trips):
    project = deployed("adds_and_fails")
    meanwhile(
        failing=[
            "CREATE TABLE bystander AS SELECT 5 AS number",
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('adds_and_fails', '0009_of_another', now())",
        ]
    )

    result = project.json("safe_migrate", check=4)

    assert project.database.query("SELECT number FROM bystander") == [(5,)]
    assert names(project, "adds_and_fails") == ["0001_initial", "0009_of_another"]
    assert "+ CREATE TABLE public.bystander" in result["recovery"]["message"]
    assert project.trips("adds_and_fails") == trips


@POSTGRESQL
def test_partitions_that_the_run_filled_alone_are_answered_by_the_backup(deployed):
    project = deployed("fills_partitions")
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3)

    assert result["recovery"]["rung"] in ("reversed", "restored")
    assert portrait(project.database) == before


@POSTGRESQL
def test_partitions_that_others_filled_too_are_not_dropped(deployed, meanwhile):
    project = deployed("fills_partitions")
    meanwhile(failing=["INSERT INTO stage VALUES (77, 50)"])

    result = project.json("safe_migrate", check=4)

    assert result["recovery"]["rung"] == "manual_intervention"
    assert project.database.query("SELECT day FROM stage WHERE trip = 77") == [(50,)]


@POSTGRESQL
@pytest.mark.parametrize("price", ["1.2345", "0.001"])
def test_digits_that_fit_only_the_wider_column_are_not_rounded(deployed, meanwhile, price):
    project = deployed("widens_a_decimal")
    meanwhile(failing=[f"UPDATE widens_a_decimal_trip SET price = {price}"])

    result = project.json("safe_migrate", check=4)

    message = result["recovery"]["message"]
    assert (
        "Not reversed: widens_a_decimal_trip.price has values that do not fit what it was"
        in message
    )
    assert "widens_a_decimal.0004_close_year left nothing behind" in message
    prices = project.database.query("SELECT price FROM widens_a_decimal_trip")
    assert {float(value) for (value,) in prices} == {float(price)}


def test_digits_that_the_run_wrote_itself_are_answered_by_the_backup(deployed):
    project = deployed("widens_a_decimal")
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3, env={"OWN_PRICE": "1.2345"})

    assert result["recovery"]["rung"] == "restored"
    assert portrait(project.database) == before


@POSTGRESQL
@pytest.mark.parametrize(
    "statement", ["TRUNCATE drops_and_fails_trip", "TRUNCATE auth_group CASCADE"]
)
def test_a_truncate_by_others_is_a_write(deployed, meanwhile, statement):
    project = deployed("drops_and_fails")
    project.database.execute("INSERT INTO auth_group (name) VALUES ('drivers')")
    meanwhile(failing=[statement])

    result = project.json("safe_migrate", check=4)

    assert result["recovery"]["rung"] == "manual_intervention"
    table = statement.split()[1]
    assert project.database.query(f"SELECT count(*) FROM {table}") == [(0,)]
    assert "restore" in result["recovery"]["message"]


@POSTGRESQL
@pytest.mark.parametrize("statement", ["DROP TABLE bystander", "ALTER TABLE bystander ADD n int"])
def test_a_drop_by_others_is_a_write(deployed, meanwhile, statement):
    project = deployed("drops_and_fails")
    project.database.execute("CREATE TABLE bystander (name text)")
    meanwhile(failing=[statement])
    result = project.json("safe_migrate", check=4)
    assert result["recovery"]["rung"] == "manual_intervention"
    columns = project.database.schema().get("bystander")
    assert columns == (None if statement.startswith("DROP") else ["name", "n"])


@POSTGRESQL
def test_a_table_that_the_run_truncated_comes_back_only_if_it_was_alone(deployed, meanwhile):
    project = deployed("truncates_and_fails")
    before = portrait(project.database)

    result = project.json("safe_migrate", check=3)

    assert result["recovery"]["rung"] == "restored"
    assert portrait(project.database) == before


@POSTGRESQL
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE truncates_and_fails_trip",
        "INSERT INTO truncates_and_fails_trip (purpose, km) VALUES ('of another', 7)",
    ],
)
def test_a_table_that_the_run_truncated_and_others_wrote(deployed, meanwhile, statement):
    project = deployed("truncates_and_fails")
    meanwhile(failing=[statement])

    result = project.json("safe_migrate", check=4)

    assert result["recovery"]["rung"] == "manual_intervention"
    rows = [("new year", 0), ("of another", 7)] if "INSERT" in statement else []
    assert project.trips("truncates_and_fails") == rows


@POSTGRESQL
@pytest.mark.parametrize("ends_by", ["COMMIT", "COMMIT PREPARED"])
def test_a_transaction_open_at_the_mark_that_commits_after_a_reset_of_statistics(
    deployed, meanwhile, wait_for, ends_by
):
    """Its row is in no backup, and no counter tells of it any more."""
    project = deployed("drops_and_fails")
    cluster, name = project.database.cluster, project.database.name
    meanwhile(failing=[f"SELECT pg_advisory_lock({LOCK})"])
    with project.database.connect() as gate, project.database.connect() as other:
        gate.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        other.execute("BEGIN")
        other.execute("INSERT INTO auth_group (name) VALUES ('acknowledged')")
        if ends_by == "COMMIT PREPARED":
            other.execute("PREPARE TRANSACTION 'open'")
        process = project.start("safe_migrate", "--format", "json")
        wait_for(
            project.database,
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'" " AND NOT granted AND objid = %s",
            [LOCK],
        )
        other.execute("COMMIT PREPARED 'open'" if "PREPARED" in ends_by else "COMMIT")
        other.close()
        cluster.execute("SELECT pg_stat_reset()", dbname=name)
        gate.close()
    result = project.finish(process)

    assert result.code == 4, result
    assert result.json()["recovery"]["rung"] == "manual_intervention"
    assert project.database.query("SELECT name FROM auth_group") == [("acknowledged",)]
