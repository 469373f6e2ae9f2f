"""A real database, PostgreSQL 15 unless a test names another one, with the tables of deploy_ops."""

import pytest
from django.core.management import call_command
from django.db import connections

APP = "fills_in_batches"


@pytest.fixture
def database(request):
    return request.getfixturevalue(getattr(request, "param", "pg15"))


@pytest.fixture
def connection(django_alias):
    call_command("migrate", "deploy_ops", database=django_alias, verbosity=0)
    return connections[django_alias]


@pytest.fixture
def trips(database, connection):
    database.execute("CREATE TABLE trip (id bigint PRIMARY KEY, km int, n int NOT NULL DEFAULT 0)")
    return database


@pytest.fixture
def filled(project):
    """The sample app up to its first migration, and rows in its table: `filled(1000)`."""

    def fill(rows):
        project.with_apps(APP).run("migrate", APP, "0001", check=0)
        project.database.execute(
            f"INSERT INTO {APP}_trip (purpose, km)"
            f" SELECT 'x', i FROM generate_series(1, {rows}) AS i"
        )
        return project

    return fill


@pytest.fixture
def counted(project):
    """How often rows were written: {times: rows}."""

    def count(column="n"):
        rows = project.database.query(
            f"SELECT {column}, count(*) FROM {APP}_trip GROUP BY {column}"
        )
        return dict(rows)

    return count
