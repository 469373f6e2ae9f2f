"""Short tries for strong locks: nobody else waits longer than one of them."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.utils import OperationalError, ProgrammingError

from deploy_ops.errors import LockNotGranted
from deploy_ops.phases.locks import Patience, take_briefly, without_timeouts

pytestmark = pytest.mark.parametrize("database", ["pg15"], indirect=True)

PATIENCE = Patience(first_pause=timedelta(milliseconds=50), longest_pause=timedelta(seconds=0.1))
ALTER = 'ALTER TABLE "Trips" ADD COLUMN note text'


@pytest.fixture
def connection(database, django_alias):
    database.execute('CREATE TABLE "Trips" (id int)')
    return connections[django_alias]


@pytest.fixture
def blocker(database):
    with database.connect() as session:
        session.execute('BEGIN; SELECT * FROM "Trips"')
        yield session


def run(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def shown(connection, name):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]


def test_comes_through_when_the_blocker_has_gone_and_lets_readers_through_meanwhile(
    database, connection, blocker
):
    threading.Timer(1.5, lambda: blocker.execute("COMMIT")).start()
    slowest = []

    def read():
        with database.connect() as reader:
            for _ in range(150):
                began = time.monotonic()
                reader.execute('SELECT id FROM "Trips"')
                slowest.append(time.monotonic() - began)
                time.sleep(0.01)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    take_briefly(connection, ["Trips"], lambda: run(connection, ALTER), PATIENCE)
    for reader in readers:
        reader.join()
    assert database.schema() == {"Trips": ["id", "note"]}
    assert max(slowest) < 0.25
    assert shown(connection, "lock_timeout") == "0"


def test_gives_up_and_names_the_holder(database, connection, blocker):
    patience = Patience(
        first_pause=timedelta(milliseconds=10), give_up_after=timedelta(seconds=0.3)
    )
    with pytest.raises(LockNotGranted) as raised:
        take_briefly(connection, ["Trips"], lambda: run(connection, ALTER), patience)
    pid = blocker.info.backend_pid
    assert f"It is held by a session (pid {pid}, idle in transaction, 0 s)" in str(raised.value)
    assert database.schema() == {"Trips": ["id"]}


def test_is_tried_once_inside_a_transaction(connection, blocker):
    began = time.monotonic()
    with pytest.raises(OperationalError, match="lock timeout"), transaction.atomic("scratch"):
        take_briefly(connection, ["Trips"], lambda: run(connection, ALTER), PATIENCE)
    assert time.monotonic() - began < 1
    assert shown(connection, "lock_timeout") == "0"


def test_settings_of_a_transaction_come_back(connection):
    with transaction.atomic("scratch"):
        run(connection, "SET LOCAL lock_timeout = '7s'")
        take_briefly(connection, ["Trips"], lambda: run(connection, ALTER))
        assert shown(connection, "lock_timeout") == "7s"


def test_other_errors_are_not_tried_again(connection):
    with pytest.raises(ProgrammingError):
        take_briefly(connection, ["Trips"], lambda: run(connection, "ALTER TABLE nowhere"))
    assert shown(connection, "lock_timeout") == "0"


def test_long_work_has_no_time_outs(connection):
    run(connection, "SET lock_timeout = '7s'; SET statement_timeout = '8s'")
    with without_timeouts(connection):
        assert (shown(connection, "lock_timeout"), shown(connection, "statement_timeout")) == (
            "0",
            "0",
        )
    assert (shown(connection, "lock_timeout"), shown(connection, "statement_timeout")) == (
        "7s",
        "8s",
    )


@pytest.mark.parametrize("may_set", [False, True])
def test_gets_past_an_autovacuum(database, connection, may_set):
    cluster = database.cluster
    if may_set:
        cluster.execute("GRANT SET ON PARAMETER deadlock_timeout TO app")
    try:
        database.execute('INSERT INTO "Trips" SELECT generate_series(1, 300000)')
        database.execute(
            'ALTER TABLE "Trips" SET (autovacuum_vacuum_cost_delay = 100,'
            " autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1)"
        )
        cluster.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        cluster.execute("SELECT pg_reload_conf()")
        database.execute('DELETE FROM "Trips"')
        wait_for_autovacuum(cluster)
        patience = Patience(autovacuum_may_take=timedelta(seconds=0.5))
        began = time.monotonic()
        take_briefly(connection, ["Trips"], lambda: run(connection, ALTER), patience)
        assert time.monotonic() - began < (1.5 if may_set else 4)
    finally:
        cluster.execute("ALTER SYSTEM RESET autovacuum_naptime")
        cluster.execute("SELECT pg_reload_conf()")
        if may_set:
            cluster.execute("REVOKE SET ON PARAMETER deadlock_timeout FROM app")


def wait_for_autovacuum(cluster):
    deadline = time.monotonic() + 60
    while not cluster.execute("SELECT 1 FROM pg_stat_progress_vacuum"):
        assert time.monotonic() < deadline, "autovacuum did not start"
        time.sleep(0.05)
