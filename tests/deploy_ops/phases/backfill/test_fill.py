"""A backfill writes every row of the table once, whatever its key looks like."""

import re
import uuid
from decimal import Decimal

import pytest
from django.db import connections, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deploy_ops.errors import BackfillFailed, BackfillRefused, ConfigurationError
from deploy_ops.phases.backfill import Computed, Filling, Sql, fill
from deploy_ops.phases.backfill.ledger import Ledger
from deploy_ops.phases.backfill.pace import FEWEST_ROWS, MOST_ROWS, Pace, pause_after
from deploy_ops.phases.backfill.pressure import Limits
from deploy_ops.phases.backfill.ranges import Range
from deploy_ops.phases.backfill.run import run

both = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
COUNT_UP = {"n": Sql("n + 1")}


def counted(database, table="trip"):
    """How often rows were written: {times: rows}."""
    return dict(database.query(f"SELECT n, count(*) FROM {table} GROUP BY n"))


def trip_filling(**changes):
    return Filling(**{"table": "trip", "key_columns": ("id",), "assignments": COUNT_UP} | changes)


@both
def test_every_row_is_written_once_and_no_trace_stays(trips, connection):
    trips.execute("INSERT INTO trip SELECT i * i, i FROM generate_series(1, 5000) AS i")

    assert fill(connection, trip_filling()) == 5000

    assert counted(trips) == {1: 5000}
    assert trips.query("SELECT * FROM deploy_ops_backfillprogress") == []
    assert trips.query("SELECT * FROM deploy_ops_backfillrange") == []


def test_an_empty_table(trips, connection):
    assert fill(connection, trip_filling()) == 0


def test_only_the_rows_asked_for(trips, connection):
    trips.execute("INSERT INTO trip SELECT i, i % 3 FROM generate_series(1, 3000) AS i")

    assert fill(connection, trip_filling(where=Sql("km = %s OR km = 2", (1,)))) == 2000

    assert trips.query("SELECT DISTINCT km FROM trip WHERE n = 1 ORDER BY 1") == [(1,), (2,)]


KEYS = {
    "composite": ("a int, b text, PRIMARY KEY (a, b)", ("a", "b"), "i % 7, 'x' || i"),
    "uuid": ("id uuid PRIMARY KEY", ("id",), "md5(i::text)::uuid"),
    "text": ("id varchar(20) PRIMARY KEY", ("id",), "'Ä' || i"),
    "time": ("id timestamptz PRIMARY KEY", ("id",), "now() + i * interval '0.3 s'"),
    "negative": ("id int PRIMARY KEY", ("id",), "-i * 1000"),
    "mixed": ('"Id Nr" int PRIMARY KEY', ("Id Nr",), "i"),
}


@both
@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_kind(database, connection, kind):
    columns, keys, values = KEYS[kind]
    database.execute(
        f'CREATE TABLE "Meine Fahrt" (n int NOT NULL DEFAULT 0, "Wert" int, {columns})'
    )
    database.execute(
        f'INSERT INTO "Meine Fahrt" SELECT 0, i, {values} FROM generate_series(1, 1500) i'
    )
    filling = Filling("Meine Fahrt", keys, {"n": Sql("n + 1"), "Wert": Sql('"Wert" * 2')})

    assert fill(connection, filling) == 1500

    assert counted(database, '"Meine Fahrt"') == {1: 1500}


def test_a_partitioned_table(database, connection):
    database.execute(
        "CREATE TABLE trip (id int, d int, n int DEFAULT 0, PRIMARY KEY (d, id)) PARTITION BY LIST (d)"
    )
    database.execute("CREATE TABLE trip1 PARTITION OF trip FOR VALUES IN (1)")
    database.execute("CREATE TABLE trip2 PARTITION OF trip FOR VALUES IN (2)")
    database.execute("INSERT INTO trip SELECT i, 1 + i % 2 FROM generate_series(1, 2000) AS i")

    assert fill(connection, trip_filling(key_columns=("d", "id"))) == 2000
    assert counted(database) == {1: 2000}


def computed(connection, columns, function):
    def compute(select):
        with connection.cursor() as cursor:
            cursor.execute(select.text, select.params)
            return [function(*row) for row in cursor.fetchall()]

    return Computed(columns, compute)


@both
def test_values_from_python_of_every_type(database, connection):
    database.execute(
        "CREATE TABLE trip (id int PRIMARY KEY, amount numeric(8,2), tags text[], u uuid, j jsonb)"
    )
    database.execute("INSERT INTO trip SELECT generate_series(1, 700)")
    number = uuid.UUID(int=5)
    tags = ["a,b", 'c"d', "", None]
    filling = Filling(
        "trip",
        ("id",),
        computed(
            connection,
            ("amount", "tags", "u", "j"),
            lambda key, *_: (key, Decimal(key) / 4, tags if key % 2 else None, number, '{"a": 1}'),
        ),
    )

    assert fill(connection, filling) == 700

    assert database.query(
        "SELECT count(*), sum(amount) FROM trip WHERE u = %s AND j->>'a' = '1'", (number,)
    ) == [(700, Decimal("61337.50"))]
    assert database.query("SELECT tags, count(*) FROM trip GROUP BY tags ORDER BY 2, 1") == [
        (tags, 350),
        (None, 350),
    ]


def test_python_that_fails_half_way_goes_on_where_it_stopped(trips, connection):
    trips.execute("INSERT INTO trip SELECT i, 0 FROM generate_series(1, 4000) AS i")

    def function(key, km, n):
        if is_broken and key == 3000:
            raise ValueError("no rate for trip 3000")
        return key, n + 1

    filling = trip_filling(assignments=computed(connection, ("n",), function))
    is_broken = True
    with pytest.raises(BackfillFailed) as caught:
        fill(connection, filling)
    assert re.search(r"trip\.n@\d+\.3: a batch of keys after", str(caught.value))
    assert "ValueError: no rate for trip 3000" in str(caught.value)
    half = counted(trips)
    assert half[1] + half[0] == 4000 and half[1] >= 500
    [(error,)] = trips.query("SELECT last_error FROM deploy_ops_backfillprogress")
    assert error == "ValueError: no rate for trip 3000"

    is_broken = False
    assert fill(connection, filling) == 4000
    assert counted(trips) == {1: 4000}


def test_columns_that_were_made_anew_are_filled_from_the_beginning(trips, connection):
    """What was filled before a kill was in columns that somebody has dropped since."""
    trips.execute("INSERT INTO trip SELECT i, 0 FROM generate_series(1, 4000) AS i")

    def function(key, km, n):
        if is_broken and key == 3000:
            raise ValueError("no rate for trip 3000")
        return key, n + 1

    is_broken = True
    with pytest.raises(BackfillFailed):
        fill(connection, trip_filling(assignments=computed(connection, ("n",), function)))
    trips.execute("ALTER TABLE trip DROP n")
    trips.execute("ALTER TABLE trip ADD n int NOT NULL DEFAULT 0")

    assert fill(connection, trip_filling()) == 4000
    assert counted(trips) == {1: 4000}
    assert trips.query("SELECT name FROM deploy_ops_backfillprogress") == []


def test_rows_beyond_the_end_are_left_to_new_code(trips, connection):
    trips.execute("INSERT INTO trip SELECT i, 0 FROM generate_series(1, 100) AS i")
    ledger = Ledger(connection, "x", trip_filling())
    ledger.begin()
    trips.execute("INSERT INTO trip VALUES (101, 0)")

    assert run(connection, "x", trip_filling()) == 100
    assert trips.query("SELECT id FROM trip WHERE n = 0") == [(101,)]


def test_refused_in_a_transaction(trips, connection):
    with (
        pytest.raises(BackfillRefused, match="atomic = False"),
        transaction.atomic(connection.alias),
    ):
        fill(connection, trip_filling())


def test_refused_without_its_table(database, django_alias):
    database.execute("CREATE TABLE trip (id bigint PRIMARY KEY, n int)")
    with pytest.raises(BackfillRefused, match='"0003_backfill"'):
        fill(connections[django_alias], trip_filling())


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.sets(st.tuples(st.integers(-3, 3), st.integers(-(2**31), 2**31 - 1)), max_size=60),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    splits=st.sets(st.integers(0, 30)),
)
def test_ranges_of_any_size_cover_each_key_once(database, connection, keys, sizes, splits):
    database.execute("DROP TABLE IF EXISTS pair")
    database.execute("CREATE TABLE pair (a int, b int, n int DEFAULT 0, PRIMARY KEY (a, b))")
    with database.connect() as session:
        session.cursor().executemany("INSERT INTO pair VALUES (%s, %s)", sorted(keys))
    filling = Filling("pair", ("a", "b"), COUNT_UP)
    with transaction.atomic(connection.alias):
        written = drive(connection, Ledger(connection, "pair", filling), sizes, splits)
        transaction.set_rollback(True, connection.alias)

    assert sorted(written) == sorted(keys)


def drive(connection, ledger, sizes, splits):
    """Give out, split and take ranges in one session; the keys of all that were taken."""
    ledger.begin()
    written = []
    for turn in range(1000):
        if taken := ledger.take():
            if turn in splits:
                ledger.put_off(taken, 0)
                continue
            select = ledger.statements.select(taken.range)
            with connection.cursor() as cursor:
                cursor.execute(select.text, select.params)
                found = [row[:2] for row in cursor.fetchall()]
            assert len(found) == taken.rows
            written += found
            ledger.note_written(taken, len(found))
        elif ledger.give_out(sizes[turn % len(sizes)]).name == "DONE":
            assert ledger.rows_written() == len(written)
            return written
    raise AssertionError("no end")


@given(st.lists(st.floats(0.0001, 100), max_size=30))
def test_a_batch_at_most_doubles_and_halves(seconds):
    pace = Pace()
    for each in seconds:
        before = pace.rows
        pace.learn(before, each)
        assert FEWEST_ROWS <= pace.rows <= MOST_ROWS
        assert before / 2 - 1 <= pace.rows <= before * 2


def test_after_rows_that_need_nothing_a_batch_of_rows_that_do_is_still_short():
    pace, rows_per_second_of_an_update = Pace(), 80_000
    for _ in range(20):
        pace.learn(pace.rows, 0.001)
    assert pace.rows / rows_per_second_of_an_update <= 0.1


def test_the_rate_limit():
    assert pause_after(1000, 0.1, None) == 0
    assert pause_after(1000, 0.1, 1000) == pytest.approx(0.9)
    assert pause_after(1000, 5, 1000) == 0


def test_a_range_in_words():
    assert str(Range(None, ["5"])) == "up to 5"
    assert str(Range(["1", "a"], ["5", "b"])) == "after 1, a up to 5, b"


@pytest.mark.parametrize(
    "given, message",
    [({"rows": 1}, "unknown keys: rows"), ({"rows_per_second": "1"}, "numbers from 0, or None")],
)
def test_invalid_limits(settings, given, message):
    settings.DEPLOY_OPS_BACKFILL_LIMITS = given
    with pytest.raises(ConfigurationError, match=message):
        Limits.of_settings()
