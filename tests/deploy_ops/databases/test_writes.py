"""Who wrote since: NOBODY only where it is proven."""

import time
from dataclasses import replace

import pytest

from deploy_ops.databases import database_for
from deploy_ops.databases.base import Answer
from deploy_ops.databases.postgresql import writes
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.databases.postgresql.write_position import take_write_position

pytestmark = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)


@pytest.fixture
def live(django_alias):
    return database_for(django_alias)


@pytest.fixture
def trips(database):
    database.execute("CREATE TABLE trip (id int, purpose text)")
    database.execute("CREATE TABLE receipt (id int)")
    database.execute("INSERT INTO trip VALUES (1, 'x'), (2, 'y')")
    return database


@pytest.fixture
def stranger(database):
    """Somebody else is connected and does nothing, so that the counters have to decide."""
    with database.connect() as connection:
        yield connection


def write(database, statement, params=()):
    """Write in a session of its own and wait for its end: only then are all its rows counted."""
    with database.connect() as connection:
        connection.execute(statement, params or None)
        pid = connection.info.backend_pid
    deadline = time.monotonic() + 10
    while database.cluster.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)):
        assert time.monotonic() < deadline, "the session stays"
        time.sleep(0.01)


def transaction(database):
    """Spend a transaction number elsewhere, so that the counters have to decide."""
    database.cluster.execute("SELECT pg_current_xact_id()")


def test_nothing_happened(live, trips):
    position = live.write_position()

    assert live.writes_since(position, own_rows={}).answer is Answer.NOBODY


def test_reading_is_not_writing(live, trips):
    position = live.write_position()
    transaction(trips)
    trips.query("SELECT * FROM trip")

    found = live.writes_since(position, own_rows={})

    assert found.answer is Answer.NOBODY and "tuple counters" in found.evidence


def test_heartbeats_are_nobodys_writes(live, trips, stranger):
    """Idle processes of the application say that they are alive; a restore loses nothing by that."""
    trips.execute("CREATE TABLE deploy_ops_instance (seen_at timestamptz)")
    position = live.write_position()
    write(trips, "INSERT INTO deploy_ops_instance VALUES (now())")

    assert live.writes_since(position, own_rows={}).answer is Answer.NOBODY
    assert "public.deploy_ops_instance" not in live.count_rows(trips.name)[0]


@pytest.mark.parametrize(
    "statement, rows",
    [
        ("INSERT INTO trip VALUES (3, 'z')", {"public.trip": 1}),
        ("UPDATE trip SET purpose = 'changed'", {"public.trip": 2}),
        ("DELETE FROM trip WHERE id = 1", {"public.trip": 1}),
        ("SELECT lo_from_bytea(0, 'receipt')", {"pg_catalog.pg_largeobject": 1}),
        ("CREATE TABLE newer AS SELECT generate_series(1, 5)", {"public.newer": 5}),
    ],
)
def test_each_kind_of_write_is_seen(live, trips, statement, rows):
    position = live.write_position()
    write(trips, statement)

    found = live.writes_since(position, own_rows={})

    assert (found.answer, found.rows) == (Answer.WROTE, rows)


def number_of(database, table):
    [(number,)] = database.query("SELECT %s::regclass::oid::bigint", (table,))
    return number


def test_our_own_rows_are_not_others(live, trips, stranger):
    position = live.write_position()
    write(trips, "INSERT INTO trip VALUES (3, 'z'), (4, 'z')")
    trip = number_of(trips, "trip")

    assert live.writes_since(position, own_rows={trip: 2}).answer is Answer.NOBODY
    more = live.writes_since(position, own_rows={trip: 1})
    assert (more.answer, more.rows) == (Answer.WROTE, {"public.trip": 1})


def test_rows_of_djangos_own_open_session_are_reported(live, trips, stranger, django_alias):
    from django.db import connections

    with connections[django_alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        position = live.write_position()
        cursor.execute("INSERT INTO trip VALUES (3, 'z')")
        cursor.execute("INSERT INTO trip VALUES (4, 'z')")

    own = {number_of(trips, "trip"): 2}
    assert live.writes_since(position, own_rows=own).answer is Answer.NOBODY


CHANGES_OF_THE_SCHEMA = [
    "TRUNCATE trip",
    "DROP TABLE receipt",
    "ALTER TABLE trip ALTER id TYPE bigint",
    "CREATE INDEX ON trip (id)",
    "CREATE FUNCTION f() RETURNS int RETURN 1",
    "ALTER TABLE trip ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT ON trip TO PUBLIC",
    "COMMENT ON TABLE trip IS 'x'",
]


@pytest.mark.parametrize("statement", CHANGES_OF_THE_SCHEMA)
def test_a_change_of_the_schema_by_others_is_a_write(live, trips, statement):
    position = live.write_position()
    write(trips, statement)

    found = live.writes_since(position, own_rows={})

    assert found.answer is Answer.WROTE and "the schema was changed" in found.evidence


@pytest.mark.parametrize(
    "statement", [each for each in CHANGES_OF_THE_SCHEMA if each != "DROP TABLE receipt"]
)
def test_our_own_change_of_the_schema_is_no_write_of_others(live, trips, stranger, statement):
    from django.db import connections

    with connections[live.alias].cursor() as cursor:
        position = live.write_position()
        own = live.counted(lambda: cursor.execute(statement))

        assert live.writes_since(position, own_rows=own).answer is Answer.NOBODY


def test_rows_in_a_table_that_we_dropped_are_not_known(live, trips, stranger):
    from django.db import connections

    with connections[live.alias].cursor() as cursor:
        position = live.write_position()
        own = live.counted(lambda: cursor.execute("DROP TABLE receipt"))
        found = live.writes_since(position, own_rows=own)

    assert found.answer is Answer.UNKNOWN and "receipt is gone" in found.evidence


def test_unknown_rows_of_ours_are_no_proof_while_others_are_connected(live, trips, stranger):
    position = live.write_position()

    assert live.writes_since(position, own_rows=None).answer is Answer.UNKNOWABLE


def test_where_nobody_else_was_connected_our_own_rows_need_not_be_known(live, trips, django_alias):
    from django.db import connections

    with connections[django_alias].cursor() as cursor:
        position = live.write_position()
        cursor.execute("TRUNCATE trip")
        cursor.execute("DROP TABLE receipt")
        found = live.writes_since(position, own_rows=None)

    assert found.answer is Answer.NOBODY and "nobody else was connected" in found.evidence


def test_a_session_that_came_and_went_is_remembered(live, trips):
    position = live.write_position()
    write(trips, "SELECT 1")

    assert live.writes_since(position, own_rows=None).answer is Answer.UNKNOWN


def test_a_prepared_transaction_can_come_back(live, trips):
    with trips.connect() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO trip VALUES (3, 'z')")
        other.execute("PREPARE TRANSACTION 'later'")
    try:
        assert live.writes_since(live.write_position(), own_rows=None).answer is Answer.UNKNOWABLE
    finally:
        trips.execute("ROLLBACK PREPARED 'later'")


def test_a_transaction_that_was_open_at_the_mark_is_seen(live, trips):
    with trips.connect() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO trip VALUES (3, 'z')")
        position = live.write_position()
        other.execute("COMMIT")

    assert live.writes_since(position, own_rows={}).answer is Answer.WROTE


def test_reset_statistics_prove_nothing(live, trips):
    position = live.write_position()
    trips.cluster.execute("SELECT pg_stat_reset()", dbname=trips.name)
    transaction(trips)

    found = live.writes_since(position, own_rows={})

    assert found.answer is Answer.UNKNOWABLE and "reset" in found.evidence


def test_another_database_proves_nothing(live, trips):
    position = live.write_position() | {"database_oid": 1}

    assert live.writes_since(position, own_rows={}).answer is Answer.UNKNOWABLE


def test_a_transaction_open_at_the_mark_is_not_forgotten_by_a_reset(live, trips):
    with trips.connect() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO trip VALUES (3, 'acknowledged')")
        position = live.write_position()
        other.execute("COMMIT")
    trips.cluster.execute("SELECT pg_stat_reset()", dbname=trips.name)

    assert live.writes_since(position, own_rows={}).answer is Answer.UNKNOWABLE


def test_counters_of_one_table_reset_prove_nothing(live, trips):
    position = live.write_position()
    write(trips, "INSERT INTO trip VALUES (3, 'z')")
    trips.cluster.execute(
        "SELECT pg_stat_reset_single_table_counters('trip'::regclass)", dbname=trips.name
    )
    write(trips, "INSERT INTO trip VALUES (4, 'z')")

    assert live.writes_since(position, own_rows={}).answer is not Answer.NOBODY


def test_uncounted_writes_are_found_in_the_write_ahead_log(live, trips, stranger):
    server = replace(server_of(live.alias), parameters=as_superuser(trips))
    with server.connect(application_name="test") as superuser, trips.connect():
        position = take_write_position(superuser)
        with trips.cluster.connect(trips.name) as other:
            other.execute("SET track_counts = off")
            other.execute("INSERT INTO trip VALUES (3, 'unseen'), (4, 'unseen')")
            other.execute("BEGIN")
            other.execute("DELETE FROM trip")
            other.execute("ROLLBACK")
        by_counters = live.writes_since(position.as_json(), own_rows={})
        by_log = writes.writes_since(server, superuser, position, {})

    assert by_counters.answer is Answer.NOBODY  # the app's role cannot read the log
    assert (by_log.answer, by_log.rows) == (Answer.WROTE, {"public.trip": 2})
    assert by_log.evidence == "write-ahead log"


def as_superuser(database):
    cluster = database.cluster
    return {"host": str(cluster.directory), "user": "postgres", "dbname": database.name}
