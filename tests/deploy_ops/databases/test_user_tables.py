"""Which tables are the user's; and that writes to all others are watched all the same."""

import pytest

from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql.materialized_views import digests_of
from deploy_ops.databases.postgresql.write_position import take_write_position
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.databases.postgresql.surroundings import surroundings_of
from deploy_ops.databases.postgresql.tables import tables_of
from tests.docs.console import ROOT

SCHEMA = """
    CREATE EXTENSION citext;
    CREATE SCHEMA pgboss;
    CREATE SCHEMA cron;
    CREATE TABLE public.trip (id int);
    CREATE TABLE pgboss.job (id int);
    CREATE MATERIALIZED VIEW public.month AS SELECT * FROM public.trip;
    CREATE TABLE cron.job (id int);
    CREATE MATERIALIZED VIEW cron.due AS SELECT * FROM cron.job;
    ALTER EXTENSION citext ADD TABLE cron.job;
    ALTER EXTENSION citext ADD MATERIALIZED VIEW cron.due;
    CREATE TEMPORARY TABLE scratch (id int);
"""


@pytest.fixture
def connection(database, django_alias):
    with server_of(django_alias).connect(application_name="test") as connection:
        for statement in SCHEMA.strip().split(";\n"):
            connection.execute(statement)
        yield connection


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
def test_tables_of_the_system_of_extensions_and_of_sessions_are_not_the_users(
    connection, django_alias
):
    assert {name for name, *_ in tables_of(connection)} == {"public.trip", "pgboss.job"}
    assert set(digests_of(connection)) == {"public.month"}
    watched = {table.name for table in take_write_position(connection).tables.values()}
    assert {"public.trip", "pgboss.job", "cron.job", "pg_catalog.pg_class"} <= watched
    assert not any(name.endswith(".scratch") for name in watched)
    names = {each.name for each in database_for(django_alias).relations().values()}
    # Catalogs that hold data rather than a schema (schema.py) are no user's tables.
    assert {name for name in names if not name.startswith("pg_")} == {"trip", "job", "month", "due"}
    assert surroundings_of(connection)["owners"] == [connection.info.user]


def test_one_module_says_what_is_the_systems_and_what_is_an_extensions():
    sources = {path: path.read_text() for path in (ROOT / "deploy_ops").rglob("*.py")}
    for word in ("information_schema", "deptype = 'e'"):
        assert {path.name for path, text in sources.items() if word in text} == {"user_tables.py"}
