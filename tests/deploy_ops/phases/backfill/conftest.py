"""A real database, PostgreSQL 15 unless a test names another one, with the tables of deploy_ops."""

import pytest
from django.core.management import call_command
from django.db import connections


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
