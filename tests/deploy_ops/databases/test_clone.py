"""A clone of the live database beside it: what it has, and who waits or goes meanwhile."""

import threading
import time
from datetime import timedelta

import psycopg
import pytest

from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql import clone, properties
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.errors import PointFailed, PointTooSlow

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
WITHIN = timedelta(seconds=20)
CUT_OFF = ("terminating connection", "server closed the connection")


@pytest.fixture
def server(database, django_alias):
    database.execute("CREATE TABLE trip (id int PRIMARY KEY); INSERT INTO trip VALUES (1), (2)")
    return server_of(django_alias)


@pytest.fixture
def name(server, django_alias):
    del server
    return database_for(django_alias).name_beside("point_20260131T020000Z")


def rows(database, name):
    with database.cluster.connect(name, "app") as connection:
        return connection.execute("SELECT id FROM trip ORDER BY id").fetchall()


@postgresql
def test_has_the_rows_and_what_lies_outside_of_the_files(server, database, name):
    quoted = f'"{database.name}"'
    database.cluster.execute(f"ALTER DATABASE {quoted} SET work_mem = '5MB'")
    database.cluster.execute(f"COMMENT ON DATABASE {quoted} IS 'Trips'")
    database.cluster.execute(f"REVOKE CONNECT ON DATABASE {quoted} FROM PUBLIC")
    calls = []
    made = clone.clone(server, name, within=WITHIN, at_rest=lambda: calls.append(1))
    assert rows(database, name) == [(1,), (2,)]
    assert calls == [1] and made.could_share == (database.cluster.major == 18)
    with server.maintenance(application_name="test") as connection:
        both = [properties.properties_of(connection, each) for each in (database.name, name)]
    assert both[0] == both[1]


@postgresql_15
def test_who_connects_meanwhile_waits_and_is_not_refused(server, database, name):
    """One is connected before, others come again and again; none of them is told no."""
    before = database.connect()
    failed, stop = [], threading.Event()

    def come_and_go():
        while not stop.is_set():
            try:
                with database.connect() as connection:
                    connection.execute("SELECT 1")
            except psycopg.Error as error:
                if not any(word in str(error) for word in CUT_OFF):
                    failed.append(str(error))

    visitors = [threading.Thread(target=come_and_go) for _ in range(3)]
    for each in visitors:
        each.start()
    try:
        clone.clone(server, name, within=WITHIN, at_rest=lambda: time.sleep(0.2))
    finally:
        stop.set()
        for each in visitors:
            each.join()
    assert failed == []
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        before.execute("SELECT 1")


@postgresql_15
def test_what_takes_too_long_is_cancelled_and_leaves_nothing(server, database, name):
    with pytest.raises(PointFailed, match="could not be cloned within 0.005 s"):
        clone.clone(server, name, within=timedelta(milliseconds=5), at_rest=lambda: None)
    assert not database.exists(name)
    assert database.query("SELECT count(*) FROM trip") == [(2,)]


@postgresql_15
def test_somebody_who_cancels_it_is_not_taken_for_the_limit(server, database, name):
    """The journal would keep that it takes longer than the limit, and no clone be tried again."""
    cancel = """
        SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
        WHERE query LIKE 'CREATE DATABASE %' AND state = 'active'
    """
    stop = threading.Event()

    def cancelling():
        while not stop.is_set():
            database.cluster.execute(cancel)

    administrator = threading.Thread(target=cancelling)
    administrator.start()
    try:
        with pytest.raises(PointFailed, match="user request") as failed:
            clone.clone(server, name, within=WITHIN, at_rest=lambda: None)
    finally:
        stop.set()
        administrator.join()
    assert not isinstance(failed.value, PointTooSlow)
    assert not database.exists(name)


@postgresql_15
def test_database_of_that_name_is_left_alone(server, database, name):
    database.cluster.execute(f'CREATE DATABASE "{name}" OWNER app')
    with pytest.raises(PointFailed, match="already"):
        clone.clone(server, name, within=WITHIN, at_rest=lambda: None)
    assert database.exists(name)


@postgresql_15
def test_prepared_transaction_and_missing_rights_are_told(server, database, name):
    database.execute("BEGIN; INSERT INTO trip VALUES (3); PREPARE TRANSACTION 'x'")
    try:
        with pytest.raises(PointFailed, match="prepared transactions"):
            clone.clone(server, name, within=WITHIN, at_rest=lambda: None)
    finally:
        database.execute("ROLLBACK PREPARED 'x'")
    assert clone.why_not(server) is None
    database.cluster.execute("ALTER ROLE app NOCREATEDB")
    try:
        assert "CREATEDB" in clone.why_not(server)
    finally:
        database.cluster.execute("ALTER ROLE app CREATEDB")
