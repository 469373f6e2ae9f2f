"""The probe's own connection."""

import os
import sqlite3
import threading

import psycopg
import pytest

from deploy_ops.errors import DatabaseUnavailable
from deploy_ops.health.connections import SqliteConnection, connection_to
from deploy_ops.health.postgresql import PostgresqlConnection
from deploy_ops.health.readiness import pending_migrations

SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'deploy_ops/health'"
BACKEND = "SELECT pg_backend_pid()"
on_postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@on_postgresql
def test_one_session_serves_all_questions(database, django_alias):
    own = PostgresqlConnection(django_alias)
    pids = {own.rows(BACKEND)[0][0] for _ in range(20)}  # more than make psycopg prepare it
    assert database.query(SESSIONS) == [(pid,) for pid in pids]
    with database.connect() as connection:
        prepared = connection.execute("SELECT count(*) FROM pg_prepared_statements")
        assert prepared.fetchone() == (0,)
    assert own.rows("SELECT count(*) FROM pg_prepared_statements") == [(0,)]


@on_postgresql
def test_session_that_the_server_ended_is_made_again_at_once(database, django_alias):
    own = PostgresqlConnection(django_alias)
    [(before,)] = own.rows(BACKEND)
    database.query(f"SELECT pg_terminate_backend({before}, 5000)")
    [(after,)] = own.rows(BACKEND)
    assert after != before


@on_postgresql
def test_mistake_in_a_question_costs_no_session(database, django_alias):
    own = PostgresqlConnection(django_alias)
    [(before,)] = own.rows(BACKEND)
    with pytest.raises(psycopg.errors.UndefinedTable):
        own.rows("SELECT * FROM nothing")
    assert own.rows(BACKEND) == [(before,)]


@on_postgresql
def test_forked_process_leaves_the_connection_to_its_parent(database, django_alias):
    own = PostgresqlConnection(django_alias)
    [(before,)] = own.rows(BACKEND)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if own.rows(BACKEND) != [(before,)] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert own.rows(BACKEND) == [(before,)]


@on_postgresql
def test_database_that_is_not_there(database, django_alias):
    from django.db import connections

    connections.databases[django_alias]["NAME"] = "nowhere"
    connections[django_alias].settings_dict["NAME"] = "nowhere"
    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        PostgresqlConnection(django_alias).ping()


@on_sqlite
def test_sqlite_file_is_read(database, django_alias):
    database.execute("CREATE TABLE trip (id integer)")
    own = SqliteConnection(django_alias)
    own.ping()
    assert own.rows("SELECT name FROM sqlite_master") == [("trip",)]


@on_sqlite
def test_sqlite_file_that_has_gone_is_not_made_anew(database, django_alias):
    with pytest.raises(sqlite3.OperationalError):
        SqliteConnection(django_alias).ping()
    assert not database.path.exists()


@on_sqlite
def test_file_that_is_no_database(database, django_alias):
    database.path.write_bytes(b"nothing that SQLite wrote" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        SqliteConnection(django_alias).ping()


def test_one_connection_for_each_alias():
    assert connection_to("default", "ping") is connection_to("default", "ping")


@on_postgresql
def test_lock_on_a_table_keeps_no_ping_waiting(database, django_alias):
    database.execute("CREATE TABLE django_migrations (app text, name text)")
    with database.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        waiting = threading.Thread(target=pending_migrations, args=[django_alias])
        waiting.start()
        try:
            for _ in range(3):
                connection_to(django_alias, "ping").ping()
            assert waiting.is_alive()
        finally:
            blocker.execute("ROLLBACK")
            waiting.join(10)
    for purpose in ("ping", "migrations"):
        connection_to.__globals__["_connections"].pop((django_alias, purpose))
