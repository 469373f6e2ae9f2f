"""Who wrote since: NOBODY only where it is proven."""

import time

import pytest

from deploy_ops.databases import database_for
from deploy_ops.databases.base import Answer
from deploy_ops.databases.postgresql import writes

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
    mark = live.mark()

    assert live.writes_since(mark).answer is Answer.NOBODY


def test_reading_is_not_writing(live, trips):
    mark = live.mark()
    transaction(trips)
    trips.query("SELECT * FROM trip")

    found = live.writes_since(mark)

    assert found.answer is Answer.NOBODY and "tuple counters" in found.evidence


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
    mark = live.mark()
    write(trips, statement)

    found = live.writes_since(mark)

    assert (found.answer, found.rows) == (Answer.WROTE, rows)


def test_our_own_rows_are_not_others(live, trips):
    mark = live.mark()
    write(trips, "INSERT INTO trip VALUES (3, 'z'), (4, 'z')")

    assert live.writes_since(mark, own_rows={"public.trip": 2}).answer is Answer.NOBODY
    more = live.writes_since(mark, own_rows={"public.trip": 1})
    assert (more.answer, more.rows) == (Answer.WROTE, {"public.trip": 1})


def test_rows_of_djangos_own_open_session_are_reported(live, trips, django_alias):
    from django.db import connections

    with connections[django_alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        mark = live.mark()
        cursor.execute("INSERT INTO trip VALUES (3, 'z')")
        cursor.execute("INSERT INTO trip VALUES (4, 'z')")

    assert live.writes_since(mark, own_rows={"public.trip": 2}).answer is Answer.NOBODY


@pytest.mark.parametrize(
    "statement",
    ["TRUNCATE trip", "DROP TABLE receipt", "ALTER TABLE trip ALTER id TYPE bigint"],
)
def test_what_takes_the_counters_away_is_not_nobody(live, trips, statement):
    mark = live.mark()
    write(trips, statement)

    assert live.writes_since(mark).answer is Answer.UNKNOWN


def test_our_own_rewrite_is_no_doubt(live, trips):
    mark = live.mark()
    write(trips, "ALTER TABLE trip ALTER id TYPE bigint")

    assert live.writes_since(mark, own_rows={"public.trip": 0}).answer is Answer.NOBODY


def test_a_transaction_that_was_open_at_the_mark_is_seen(live, trips):
    with trips.connect() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO trip VALUES (3, 'z')")
        mark = live.mark()
        other.execute("COMMIT")

    assert live.writes_since(mark).answer is Answer.WROTE


def test_reset_statistics_prove_nothing(live, trips):
    mark = live.mark()
    trips.cluster.execute("SELECT pg_stat_reset()", dbname=trips.name)
    transaction(trips)

    found = live.writes_since(mark)

    assert found.answer is Answer.UNKNOWN and "reset" in found.evidence


def test_another_database_proves_nothing(live, trips):
    mark = live.mark() | {"database_oid": 1}

    assert live.writes_since(mark).answer is Answer.UNKNOWN


def test_uncounted_writes_are_found_in_the_write_ahead_log(live, trips, django_alias):
    with trips.cluster.connect(trips.name) as superuser:
        mark = writes.take_mark(superuser)
        superuser.execute("SET track_counts = off")
        superuser.execute("INSERT INTO trip VALUES (3, 'unseen'), (4, 'unseen')")
        superuser.execute("BEGIN")
        superuser.execute("DELETE FROM trip")
        superuser.execute("ROLLBACK")
        superuser.execute("RESET track_counts")
        by_counters = live.writes_since(mark)
        by_log = writes.writes_since(superuser, mark)

    assert by_counters.answer is Answer.NOBODY  # the app's role cannot read the log
    assert (by_log.answer, by_log.rows) == (Answer.WROTE, {"public.trip": 2})
    assert by_log.evidence == "write-ahead log"


def test_the_write_ahead_log_proves_what_reset_statistics_cannot(trips):
    with trips.cluster.connect(trips.name) as superuser:
        mark = writes.take_mark(superuser)
        write(trips, "INSERT INTO trip SELECT i, 'ours' FROM generate_series(1, 50) AS i")
        superuser.execute("SELECT pg_stat_reset()")

        ours = writes.writes_since(superuser, mark, {"public.trip": 50})
        not_ours = writes.writes_since(superuser, mark, {"public.trip": 49})

    assert ours.answer is Answer.NOBODY and "write-ahead log" in ours.evidence
    assert (not_ours.answer, not_ours.rows) == (Answer.WROTE, {"public.trip": 1})
