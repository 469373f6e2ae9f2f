"""A database for one process alone: nobody else gets in, and at any kill it is found and opened."""

import os
import signal
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from django.db import connections

from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql import closing as closing_postgresql
from deploy_ops.databases.postgresql import sessions
from deploy_ops.databases.postgresql.closing import Mark
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.errors import LockLost, NotExclusive, SwapUnfinished

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
STATE = """
    SELECT datname, datallowconn, shobj_description(oid, 'pg_database') FROM pg_database
    WHERE datname LIKE %s ORDER BY datname
"""


@pytest.fixture
def live(django_alias, database):
    database.execute("CREATE TABLE seen (id int)")
    database.execute("INSERT INTO seen VALUES (1)")
    database.execute(f"COMMENT ON DATABASE \"{database.name}\" IS 'Reisekosten'")
    return database_for(django_alias)


def state(database):
    return database.cluster.execute(STATE, [f"{database.name}%"])


def rows(database):
    return [row for (row,) in database.query("SELECT id FROM seen ORDER BY id")]


def as_django(alias, statement):
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


@postgresql
def test_nobody_gets_in_and_everybody_is_told(live, database, django_alias):
    with closing(database.connect()) as other:
        with live.closed_to_others(lambda: None):
            with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
                database.connect()
            with pytest.raises(psycopg.OperationalError):
                other.execute("INSERT INTO seen VALUES (7)")
            as_django(django_alias, "INSERT INTO seen VALUES (2)")
            identity = live.identify()
            assert identity.name == live.database_name == database.name
            assert live.count_rows(identity.name)[0] == {"public.seen": 2}
            assert any("seen" in line for line in live.schema().lines)

    assert rows(database) == [1, 2]
    assert state(database) == [(database.name, True, "Reisekosten")]
    as_django(django_alias, "INSERT INTO seen VALUES (3)")
    assert rows(database) == [1, 2, 3]


@postgresql_15
def test_key_lock_and_names_are_those_of_the_live_name(live):
    before = live.key(), live.local_place(), live.name_beside("verify_20260131T020000Z")
    with live.closed_to_others(lambda: None):
        assert (live.key(), live.local_place(), live.name_beside("verify_20260131T020000Z")) == (
            before
        )
        guard, other = live.guard("one", False), live.guard("two", False)
        try:
            assert guard.try_acquire() is None
            assert "deploy_ops/one/" in other.try_acquire()
        finally:
            guard.release()
            other.release()


@postgresql
def test_an_error_of_the_block_opens_it_too(live, database):
    with pytest.raises(KeyboardInterrupt):
        with live.closed_to_others(lambda: None):
            raise KeyboardInterrupt
    assert state(database) == [(database.name, True, "Reisekosten")]


@postgresql_15
def test_prepared_transactions_stop_it_before_anybody_is_sent_away(live, database):
    with closing(database.connect()) as other:
        other.execute("BEGIN; INSERT INTO seen VALUES (9); PREPARE TRANSACTION 'nine'")
        try:
            with pytest.raises(NotExclusive) as refused:
                live.closed_to_others(lambda: None).__enter__()
            other.execute("SELECT 1")  # still connected
        finally:
            other.execute("ROLLBACK PREPARED 'nine'")
    assert "prepared transactions: 'nine' of app" in str(refused.value)
    assert state(database) == [(database.name, True, "Reisekosten")]


@postgresql_15
@pytest.mark.parametrize("asked", [1, 2])
def test_a_lock_that_was_lost_meanwhile_stops_it(live, database, asked):
    """Another host may have taken over: what it does in the database is not cut off."""
    answers = iter([None] * (asked - 1))

    def check_lock():
        if next(answers, LockLost) is LockLost:
            raise LockLost

    with pytest.raises(LockLost):
        live.closed_to_others(check_lock).__enter__()

    assert state(database) == [(database.name, True, "Reisekosten")]


@postgresql_15
def test_a_role_that_may_not_create_databases_is_told(live, database):
    database.cluster.execute("ALTER ROLE app NOCREATEDB")
    try:
        with pytest.raises(NotExclusive, match="permission denied to create database"):
            live.closed_to_others(lambda: None).__enter__()
    finally:
        database.cluster.execute("ALTER ROLE app CREATEDB")
    assert state(database) == [(database.name, True, "Reisekosten")]


@postgresql_15
def test_a_session_that_may_not_be_ended_stops_it(live, database, monkeypatch):
    monkeypatch.setattr(sessions, "PATIENCE", timedelta(seconds=0.5))
    with closing(database.cluster.connect(database.name, "postgres")):
        with pytest.raises(NotExclusive, match="Superusers are connected .* is open and was not"):
            live.closed_to_others(lambda: None).__enter__()
    assert state(database) == [(database.name, True, "Reisekosten")]


@postgresql_15
def test_one_that_somebody_has_closed_since_is_not_called_open(live, database):
    """The kill came before the names were exchanged, and then an administrator closed it too."""
    with server_of(live.alias).maintenance(application_name="test") as connection:
        mark = Mark("exclusive", database.name, "none", "none", "0", "process 1", "noon")
        closing_postgresql.close(connection, database.name, mark)
    database.cluster.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
    try:
        report = live.repair_marked()

        assert "process 1 had closed" in report and "open again" not in report
        assert f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true;' in report
        assert not state(database)[0][1]
    finally:
        database.cluster.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')


@postgresql_15
def test_while_a_session_cannot_be_ended_the_name_stays_and_the_data_are_reachable(live, database):
    alone = live.closed_to_others(lambda: None)
    alone.__enter__()
    [aside] = [name for name, *_ in state(database) if "_exclusive_" in name]
    with closing(database.cluster.connect(aside, "postgres")):
        with pytest.raises(SwapUnfinished, match=f"{aside} is open again"):
            alone.__exit__(None, None, None)
        assert rows(database.beside(aside)) == [1]

    assert "open again" in live.repair_marked()
    assert state(database) == [(database.name, True, "Reisekosten")]


@postgresql_15
def test_the_empty_database_that_somebody_has_opened_is_not_thrown_away(live, database):
    alone = live.closed_to_others(lambda: None)
    alone.__enter__()
    database.cluster.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')
    database.execute("CREATE TABLE acknowledged (id int)")

    with pytest.raises(SwapUnfinished) as stopped:
        alone.__exit__(None, None, None)

    [aside] = [name for name, *_ in state(database) if "_exclusive_" in name]
    assert f'ALTER DATABASE "{aside}" RENAME TO "{database.name}";' in str(stopped.value)
    assert rows(database.beside(aside)) == [1]
    assert "acknowledged" in database.schema()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_is_not_closed(database, django_alias):
    with pytest.raises(NotExclusive, match="leave --exclusive out"):
        database_for(django_alias).closed_to_others(lambda: None)


def alone_until(live, number):
    """Write one row while nobody else is there, and die before the nth statement about closing."""
    real, seen = psycopg.Connection.execute, 0

    def execute(self, *args, **kwargs):
        nonlocal seen
        if "deploy_ops/exclusive" in (self.info.parameter_status("application_name") or ""):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *args, **kwargs)

    psycopg.Connection.execute = execute
    with live.closed_to_others(lambda: None):
        as_django(live.alias, "INSERT INTO seen VALUES (2)")
    os._exit(0)


@postgresql
def test_killed_before_any_of_its_statements_it_is_found_and_opened(live, database):
    opened, number, is_killed = [], 0, True
    while is_killed:
        number += 1
        database.execute("TRUNCATE seen")
        connections[live.alias].close()
        if (child := os.fork()) == 0:
            alone_until(live, number)
        is_killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        was_closed = live.is_left_closed()

        report = live.repair_marked()

        assert bool(report) == was_closed and not live.is_left_closed()
        for name in live.databases_beside():  # killed before it was marked; `prune` finds it too
            assert "_closed_" in name and not database.beside(name).schema()
            live.drop(name)
        assert state(database) == [(database.name, True, "Reisekosten")], number
        assert rows(database) in ([], [2]), number
        opened.append(was_closed)
    assert number > 40 and opened.count(True) > 20 and rows(database) == [2]
