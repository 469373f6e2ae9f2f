"""What the drills share: a deployed first release with rows, and sessions to look for."""

import time

import pytest

TRIPS = [("Kundentermin", 120), ("Messe", 410)]


@pytest.fixture
def trips():
    return TRIPS


@pytest.fixture
def deployed(project):
    """Deploy the first migration of an app and give it rows."""

    def deploy(app, *, trips=TRIPS):
        project.with_apps(app)
        for ours in ("auth", "deploy_ops"):
            project.run("migrate", ours, check=0)
        project.run("migrate", app, "0001", check=0)
        project.insert_trips(app, *trips)
        return project

    return deploy


@pytest.fixture
def wait_for():
    """Poll until a query on the project's database has a row; fail after some seconds."""

    def wait(database, statement, params=(), seconds=20.0):
        deadline = time.monotonic() + seconds
        while not (rows := database.query(statement, params)):
            assert time.monotonic() < deadline, f"nothing came of {statement}"
            time.sleep(0.05)
        return rows

    return wait


def with_two_of_three_applied(project) -> None:
    """A database from before the squash, which had two of the migrations that it replaces."""
    project.with_apps("squashed_three")
    for app in ("auth", "deploy_ops", "squashed_three"):
        project.run("migrate", app, check=0)
    project.database.execute("ALTER TABLE squashed_three_trip DROP COLUMN place")
    project.database.execute(
        "DELETE FROM django_migrations WHERE name IN ('0001_squashed', '0003_place')"
    )
