"""Nothing that an error repeats of a statement or of a row is shown: any of it may be a password."""

import re
import sqlite3
import time

import psycopg
import pytest
from django.db import DatabaseError, connections

from deploy_ops.redact import error_text, redact, server_text, statement_text

SECRET = "geheim"

# What fails on PostgreSQL with the secret in the statement, and what has to stay readable of it.
FAILING = {
    "role_option": ("CREATE ROLE x PASSWORD 'geheim' FOO", "unrecognized role option"),
    "no_quotes": ("CREATE ROLE x PASSWORD geheim", "syntax error"),
    "quote_inside": ("CREATE ROLE x PASSWORD 'a'geheim'", "unrecognized role option"),
    "not_closed": ("CREATE ROLE x PASSWORD 'geheim", "unterminated quoted string"),
    "alter_role": ("ALTER ROLE nobody_here PASSWORD 'geheim'", 'role "nobody_here" does not exist'),
    "alter_system": ("ALTER SYSTEM SET work_mem = 'geheim'", "permission denied|cannot|invalid"),
    "set_config": ("SELECT set_config('work_mem', 'geheim', false)", "invalid value for parameter"),
    "subscription": (
        "CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere password=geheim' PUBLICATION p",
        "publisher|superuser|permission denied",
    ),
    "user_mapping": (
        "CREATE USER MAPPING FOR x SERVER y OPTIONS (user 'a', password 'geheim')",
        'role "x" does not exist',
    ),
    "nested": (
        "DO $$ BEGIN EXECUTE 'CREATE ROLE app PASSWORD ''geheim'''; END $$",
        'role "app" already exists|permission denied',
    ),
    "nested_query": ("DO $$ BEGIN PERFORM 'geheim'::int; END $$", "invalid input syntax"),
    "unknown_table": ("SELECT * FROM nix WHERE x = 'geheim'", 'relation "nix" does not exist'),
    "cast": ("SELECT 'geheim'::int", "invalid input syntax for type integer"),
    "json": ("""SELECT '{"a": geheim'::json""", "invalid input syntax for type json"),
    "unique": ("INSERT INTO trip (purpose) VALUES ('geheim'), ('geheim')", "Key .purpose.="),
    "check": ("INSERT INTO trip (purpose, km) VALUES ('geheim', -1)", 'constraint "trip_km_check"'),
    "not_null": ("INSERT INTO trip (purpose, km) VALUES ('geheim', NULL)", 'column "km"'),
    "date": ("SELECT 'geheim'::date", "invalid input syntax for type date"),
}


@pytest.fixture
def failing(postgresql_database, database, django_alias):
    """Run a statement through Django and return its error."""
    postgresql_database.execute(
        "CREATE TABLE trip (purpose text UNIQUE, km int NOT NULL DEFAULT 0 CHECK (km >= 0))"
    )

    def fail(statement):
        with pytest.raises(DatabaseError) as failure, connections[django_alias].cursor() as cursor:
            cursor.execute(statement)
        return failure.value

    return fail


@pytest.fixture
def database(postgresql_database):
    return postgresql_database


@pytest.mark.parametrize(["statement", "stays"], FAILING.values(), ids=FAILING)
def test_error_of_the_server(failing, statement, stays):
    error = failing(statement)
    assert SECRET not in error_text(error)
    assert SECRET not in server_text(error_text(error))
    assert re.search(stays, error_text(error)), error_text(error)


def test_message_of_the_server_in_another_language_is_known_by_its_code(failing):
    error = failing("SELECT 'geheim'::int")
    german = psycopg.errors.InvalidTextRepresentation(
        "ungültige Eingabesyntax für Typ integer: »geheim«\nLINE 1: SELECT 'geheim'::int"
    )
    error.__cause__, error.args = german, german.args
    assert error_text(error) == 'ungültige Eingabesyntax für Typ integer: "***"\nLINE 1: ***'


@pytest.mark.parametrize(
    "statement", ["SELECT geheim geheim geheim", "SELECT 'geheim", "PRAGMA key = geheim geheim"]
)
def test_error_of_sqlite(statement):
    with pytest.raises(sqlite3.Error) as failure:
        sqlite3.connect(":memory:").execute(statement)
    assert SECRET not in error_text(failure.value)


def test_names_and_hints_stay():
    report = (
        "cannot drop table a because other objects depend on it\n"
        "DETAIL:  view b depends on table a\n"
        "HINT:  Use DROP ... CASCADE to drop the dependent objects too."
    )
    assert error_text(psycopg.errors.DependentObjectsStillExist(report)) == report


def test_exception_without_a_text():
    class Odd(Exception):
        def __str__(self):
            raise ValueError

    assert error_text(Odd()) == "nothing (ValueError when asked)"


@pytest.mark.parametrize(
    "text",
    [
        "password=geheim",
        "password = 'geheim'",
        r"password='it\'s geheim'",
        "password='cut off geheim",
        "CONNECTION 'host=a password=''more geheim'' port=1'",
        r"CONNECTION 'host=a password=''it\''s geheim'''",
        "postgresql://u:geheim@h/x",
        "CREATE ROLE x PASSWORD 'geheim'",
        "ENCRYPTED PASSWORD E'it\\'s geheim'",
        "PASSWORD 'it''s geheim'",
        "PASSWORD $$geheim$$",
        "PASSWORD 'cut off geheim",
        "OPTIONS (user 'a', password 'geheim')",
        "dblink_connect('host=x password=geheim')",
        "f(password => 'geheim')",
        '{"password": "it\\"s geheim"}',
        "{'password': 'geheim'}",
    ],
)
def test_password_in_foreign_text(text):
    assert SECRET not in redact(text)


def test_ordinary_words_stay():
    text = 'password authentication failed for user "app"'
    assert redact(text) == text


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE x PASSWORD 'geheim'",
        "CREATE ROLE x PASSWORD geheim",
        "CREATE ROLE x PASSWORD 'a'geheim'",
        "ALTER SYSTEM SET primary_conninfo = 'host=a password=geheim'",
        "SELECT set_config('app.key', E'it\\'s geheim', false)",
        "INSERT INTO token VALUES ('it''s geheim')",
        "DO $body$ SELECT 'geheim' $body$",
        "SELECT $$geheim$$",
        "SELECT 1 -- geheim\n",
        "SELECT /* geheim */ 1",
        "UPDATE t SET a = 'geheim",
    ],
)
@pytest.mark.parametrize("length", [20, 40, 200])
def test_statement_that_is_shown_has_no_literals(statement, length):
    assert SECRET[:3] not in statement_text(statement[:length])


def test_statement_that_is_shown_can_be_recognised():
    statement = "UPDATE \"Reise Belege\" SET km = '5' WHERE id = 3"
    assert statement_text(statement) == "UPDATE \"Reise Belege\" SET km = '***' WHERE id = 3"


def test_what_pg_restore_says_of_a_statement():
    said = (
        'pg_restore: error: could not execute query: ERROR:  role "x" does not exist\n'
        "Command was: CREATE SUBSCRIPTION s CONNECTION 'host=a\n"
        "sslkey=geheim' PUBLICATION p;\n\n\n"
        "pg_restore: warning: errors ignored on restore: 1\n"
        'pg_restore: error: COPY failed for table "t": ERROR:  invalid input syntax for type '
        'integer: "geheim"\nCONTEXT:  COPY t, line 1, column x: "geheim"'
    )
    shown = server_text(said)
    assert SECRET not in shown
    assert 'role "x" does not exist\nCommand was: ***\npg_restore: warning' in shown
    assert 'COPY failed for table "t"' in shown


def test_tracebacks_keep_their_frames():
    text = (
        "Traceback (most recent call last):\n  File x\npsycopg.errors.UndefinedObject: role\n"
        "LINE 1: CREATE ROLE x PASSWORD 'geheim'\n        ^\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n  File y\n"
    )
    shown = server_text(text)
    assert SECRET not in shown and "File x" in shown and "The above" in shown and "File y" in shown


@pytest.mark.parametrize("function", [redact, server_text, statement_text])
@pytest.mark.parametrize(
    "piece",
    [
        "password='",
        "password=''x'y",
        "password '",
        "password  ",
        "password=''a''''",
        "a://b:",
        'near "',
        "near ",
        "LINE 1: ",
        "pg_x\n",
        "/* ",
        "$a$",
        "e'\\",
        "'",
        'host name "',
        "=(",
        "»",
        "DETAIL: (\n",
    ],
)
def test_time_grows_with_the_length_alone(function, piece):
    def seconds(times):
        text = piece * times
        started = time.thread_time()  # of this thread, whatever else the machine does
        function(text)
        return time.thread_time() - started

    seconds(100)
    assert seconds(100_000) < 2
