"""Killed, paused, blocked, several at once: each row is written once, and what is possible is done."""

import multiprocessing
import os
import random
import signal
import threading
import time

import pytest
from django.db import connections, transaction

from deploy_ops.errors import BackfillBlocked, BackfillCancelled
from deploy_ops.metrics import collectors
from deploy_ops.phases.backfill import Filling, Sql, ledger
from deploy_ops.phases.backfill.control import cancel, pause, resume
from deploy_ops.phases.backfill.entry import register
from deploy_ops.phases.backfill.ledger import Given, Ledger
from deploy_ops.phases.backfill.pressure import Limits, Pressure, archive_queue, look
from deploy_ops.phases.backfill.run import run

APP = "fills_in_batches"
NAME = f"{APP}.0004_detached#0"
FILLING = Filling("trip", ("id",), {"n": Sql("n + 1")})


WAITS_FOR_LOCK = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def limits(**changes):
    return Limits(**{name: None for name in Limits.__slots__} | changes)


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rows_read(project, name):
    found = project.database.query(
        "SELECT rows_read FROM deploy_ops_backfillprogress WHERE name = %s AND done_at IS NULL",
        (name,),
    )
    return found[0][0] if found else -1


def kill_until_done(project, argv, name, kills):
    """Start it again and again, and kill it at a random moment while it works."""
    for _ in range(kills):
        process, before = project.start(*argv), rows_read(project, name)
        while process.poll() is None and rows_read(project, name) == before:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.15))
        assert process.poll() is None, "done before all kills: the test needs more rows"
        kill(process)
    project.run(*argv, check=0)


def test_a_worker_killed_twenty_times(trips, connection):
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 300000) AS i")
    Ledger(connection, "trips", FILLING).begin()
    connection.close()  # or the worker would inherit it
    not_too_fast = limits(rows_per_second=150_000)  # or it is done before it was killed so often
    for _ in range(20):
        before = number_left(trips)
        worker = multiprocessing.get_context("fork").Process(
            target=run, args=(connection, "trips", FILLING), kwargs={"limits": not_too_fast}
        )
        worker.start()
        wait_for(lambda: number_left(trips) < before)
        time.sleep(random.uniform(0, 0.05))
        worker.kill()
        worker.join()
        assert worker.exitcode == -signal.SIGKILL, "done before all kills: it needs more rows"

    assert run(connection, "trips", FILLING, limits=limits()) == 300_000
    assert trips.query("SELECT n, count(*) FROM trip GROUP BY n") == [(1, 300_000)]


@pytest.mark.parametrize("command", ["migrate", "safe_migrate"])
def test_a_migration_killed_goes_on(filled, counted, command):
    project = filled(20_000).settings(DEPLOY_OPS_BACKFILL_LIMITS={"rows_per_second": 20_000})

    kill_until_done(project, (command, APP, "0002"), f"{APP}.0002_count#0", 2)

    assert counted() == {1: 20_000}


@pytest.mark.parametrize("database", ["pg18"], indirect=True)
def test_two_workers_share_the_work(filled, counted):
    project = filled(60_000)
    project.run("migrate", APP, check=0)
    workers = [
        project.start("backfill", "run", NAME, "--rows-per-second", "20000") for _ in range(2)
    ]

    assert [project.finish(each).code for each in workers] == [0, 0]
    assert counted("m") == {1: 60_000}


def in_thread(alias, name, **changes):
    """A worker in a thread; the list gets what it raised."""
    raised = []

    def work():
        try:
            run(connections[alias], name, FILLING, limits=limits(**changes))
        except Exception as error:  # pylint: disable=broad-exception-caught
            raised.append(error)
        finally:
            connections[alias].close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread, raised


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_threads_of_many_workers(trips, connection):
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 50000) AS i")
    workers = [in_thread(connection.alias, "trips") for _ in range(4)]

    for thread, _ in workers:
        thread.join()
    assert [raised for _, raised in workers] == [[]] * 4
    assert trips.query("SELECT n, count(*) FROM trip GROUP BY n") == [(1, 50_000)]


def test_a_range_given_out_meanwhile_is_no_end(trips, connection, monkeypatch):
    """One worker gives out the last range, while another one waits to give out one."""
    # Else it often has given up before it sees the commit that this is about.
    monkeypatch.setattr(ledger, "_TAKE", ledger._TAKE.replace(ledger.LOCK_TIMEOUT, "10s"))
    trips.execute("INSERT INTO trip VALUES (1)")
    alias, given = connection.alias, []
    is_known, is_given = threading.Event(), threading.Event()

    def ask():
        other = Ledger(connections[alias], "trips", FILLING)
        is_known.set()
        is_given.wait()
        with transaction.atomic(alias):
            assert other.take() is None
            given.append(other.give_out(1000))
        connections[alias].close()

    own = Ledger(connection, "trips", FILLING)
    own.begin()
    thread = threading.Thread(target=ask)
    with trips.connect() as watching, transaction.atomic(alias):
        thread.start()
        is_known.wait()
        assert own.give_out(1000) is Given.RANGE
        is_given.set()
        while not watching.execute(WAITS_FOR_LOCK).fetchall():
            pass
    thread.join()

    assert given == [Given.WAIT]


def number_left(trips):
    [(number,)] = trips.query("SELECT count(*) FROM trip WHERE n = 0")
    return number


def left(trips):
    return [key for (key,) in trips.query("SELECT id FROM trip WHERE n = 0 ORDER BY id")]


def test_a_locked_row_stops_no_other_row(trips, connection):
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 5000) AS i")
    with trips.connect() as other, other.transaction():
        other.execute("SELECT FROM trip WHERE id = 3000 FOR UPDATE")
        thread, raised = in_thread(connection.alias, "trips", patience_seconds=60)
        wait_for(lambda: left(trips) == [3000])
    thread.join()

    assert raised == []
    assert trips.query("SELECT n, count(*) FROM trip GROUP BY n") == [(1, 5000)]


def test_a_row_that_stays_locked_is_named(trips, connection):
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 2000) AS i")
    with trips.connect() as other, other.transaction():
        other.execute("SELECT FROM trip WHERE id = 1500 FOR UPDATE")
        with pytest.raises(BackfillBlocked) as caught:
            run(connection, "trips", FILLING, limits=limits(patience_seconds=1))
        assert f"(pid {other.info.backend_pid}" in str(caught.value)
        assert left(trips) == [1500]

    assert run(connection, "trips", FILLING, limits=limits()) == 2000
    assert trips.query("SELECT n, count(*) FROM trip GROUP BY n") == [(1, 2000)]


def test_a_locked_table_is_waited_for(trips, connection):
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 2000) AS i")
    Ledger(connection, "trips", FILLING).begin()
    with trips.connect() as other, other.transaction():
        other.execute("LOCK TABLE trip IN ACCESS EXCLUSIVE MODE")
        thread, raised = in_thread(connection.alias, "trips", patience_seconds=60)
        time.sleep(1)
        assert thread.is_alive()
    thread.join()

    assert raised == [] and left(trips) == []


def test_pause_resume_and_cancel_while_it_works(trips, connection):
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 20000) AS i")
    alias = connection.alias
    thread, raised = in_thread(alias, "trips", rows_per_second=5000)
    wait_for(lambda: len(left(trips)) < 20_000)
    assert pause(alias, "trips") and not pause(alias, "trips")
    time.sleep(0.5)
    paused = left(trips)
    time.sleep(1.2)
    assert left(trips) == paused and thread.is_alive()

    assert resume(alias, "trips") and not resume(alias, "trips")
    wait_for(lambda: len(left(trips)) < len(paused))
    assert cancel(alias, "trips")
    thread.join()

    assert isinstance(raised[0], BackfillCancelled)
    assert 0 < len(left(trips)) < len(paused)
    assert resume(alias, "trips")
    assert run(connection, "trips", FILLING, limits=limits()) == 20_000
    assert trips.query("SELECT n, count(*) FROM trip GROUP BY n") == [(1, 20_000)]


def test_a_long_transaction_is_waited_for(trips, connection):
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 100) AS i")
    with trips.connect() as other, other.transaction():
        other.execute("INSERT INTO trip VALUES (0)")
        time.sleep(1)
        thread, raised = in_thread(connection.alias, "trips", transaction_seconds=0.9)
        waits = "SELECT waits_for FROM deploy_ops_backfillprogress WHERE waits_for <> ''"
        wait_for(lambda: trips.query(waits))
        [(reason,)] = trips.query(waits)
        assert reason.startswith("a transaction is open for")
        assert left(trips) == list(range(1, 101))
    thread.join()

    assert raised == [] and left(trips) == []
    assert trips.query(waits) == []


def test_an_autovacuum_is_seen_by_its_lock(trips, connection):
    trips.execute(
        "ALTER TABLE trip SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,"
        " autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0)"
    )
    cluster = trips.cluster
    cluster.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    cluster.execute("SELECT pg_reload_conf()")
    try:
        assert not look(connection, "trip").is_vacuumed
        trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 50000) AS i")
        trips.execute("UPDATE trip SET km = 1")
        wait_for(lambda: look(connection, "trip").is_vacuumed)
    finally:
        cluster.execute("ALTER SYSTEM RESET autovacuum_naptime")
        cluster.execute("SELECT pg_reload_conf()")
        trips.execute("DROP TABLE trip")


def test_a_vacuum_by_hand_is_none(trips, connection):
    with trips.connect() as other, other.transaction():
        other.execute("LOCK TABLE trip IN SHARE UPDATE EXCLUSIVE MODE")
        assert not look(connection, "trip").is_vacuumed


def test_reasons_to_wait():
    pressure = Pressure(12.0, 70, True, 400.0)

    assert list(pressure.reasons(limits())) == []
    assert list(
        pressure.reasons(
            limits(
                replication_lag_seconds=10,
                archive_queue_files=64,
                autovacuum=True,
                transaction_seconds=300,
            )
        )
    ) == [
        "a replica is 12 s behind",
        "70 WAL files wait to be archived",
        "autovacuum works on the table",
        "a transaction is open for 400 s",
    ]


@pytest.mark.parametrize(
    "archived, current, queue",
    [
        (None, "000000010000000000000005", 0),
        ("000000010000000000000004", "000000010000000000000005", 0),
        ("000000010000000000000004", "000000010000000000000009", 4),
        ("0000000100000000000000FF", "000000010000000100000003", 3),
        ("000000010000000000000002.00000028.backup", "000000010000000000000005", 2),
        ("00000002.history", "000000010000000000000005", 0),
    ],
)
def test_the_archive_queue(archived, current, queue):
    assert archive_queue(archived, current, 16 * 1024 * 1024) == queue


def test_metrics_of_one_that_is_not_finished(trips, connection, monkeypatch):
    monkeypatch.setattr(collectors, "DEFAULT_DB_ALIAS", connection.alias)
    trips.execute("INSERT INTO trip SELECT i FROM generate_series(1, 2000) AS i")
    with trips.connect() as other, other.transaction():
        other.execute("SELECT FROM trip WHERE id = 1500 FOR UPDATE")
        with pytest.raises(BackfillBlocked):
            run(connection, "trips", FILLING, limits=limits(patience_seconds=0.5))

    metrics = {metric.name: metric.samples for metric in collectors.backfills()}

    states = {each.labels["state"]: each.value for each in metrics["deploy_ops_backfills"]}
    assert states == {"waiting": 0, "unfinished": 1, "paused": 0, "cancelled": 0, "done": 0}
    [ratio] = metrics["deploy_ops_backfill_read_ratio"]
    assert ratio.labels["name"] == "trips" and 0.9 < ratio.value < 1
    [last] = metrics["deploy_ops_backfill_last_timestamp_seconds"]
    assert last.labels["state"] == "unfinished" and 0 <= time.time() - last.value < 60


def test_metrics_of_one_that_nobody_has_begun(trips, connection, monkeypatch):
    """That no worker comes can be seen, and that it is paused is no alarm."""
    monkeypatch.setattr(collectors, "DEFAULT_DB_ALIAS", connection.alias)
    register(connection, "trips", FILLING)
    for state in ("waiting", "paused"):
        metrics = {metric.name: metric.samples for metric in collectors.backfills()}
        [last] = metrics["deploy_ops_backfill_last_timestamp_seconds"]
        assert last.labels == {"alias": connection.alias, "name": "trips", "state": state}
        assert 0 <= time.time() - last.value < 60
        pause(connection.alias, "trips")
