"""`safe_migrate --exclusive`: a planned downtime, in which a restore loses nothing of others."""

import signal
from contextlib import closing

import pytest

from tests.drills.portraits import portrait

HALF = [("first", 10), ("second", 0), ("third", 30)]
DOUBLED_ONCE = [("first", 20), ("second", 0), ("third", 30)]
pytestmark = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
LEFT = "SELECT datname FROM pg_database WHERE datname LIKE %s AND NOT datallowconn"


@pytest.fixture
def half(deployed):
    return deployed("doubled_in_batches", trips=HALF)


def left_closed(project):
    return project.database.cluster.execute(LEFT, [f"{project.database.name}%"])


def test_failed_half_way_it_is_restored_though_others_were_connected(half):
    before = portrait(half.database)
    with closing(half.database.connect()) as connection:
        connection.execute("SELECT 1")

        result = half.json("safe_migrate", "--exclusive", check=3)

    assert result["recovery"]["rung"] == "restored"
    assert portrait(half.database) == before and not left_closed(half)
    failed = half.database.beside(result["recovery"]["previous_database"])
    assert failed.query("SELECT purpose, km FROM doubled_in_batches_trip ORDER BY id") == (
        DOUBLED_ONCE
    )
    assert sorted(half.database.databases()) == sorted([half.database.name, failed.name])


def test_nobody_writes_meanwhile_and_it_says_when_it_is_open_again(half):
    half.database.execute("UPDATE doubled_in_batches_trip SET km = 5 WHERE purpose = 'second'")
    acknowledged = "INSERT INTO doubled_in_batches_trip (purpose, km) VALUES ('of another', 7)"
    half.env["MEANWHILE"] = f'{{"failing": ["{acknowledged}"]}}'

    ran = half.run("safe_migrate", "--exclusive", check=0)

    name = half.database.name
    assert f"{name} is closed to others; their sessions were ended" in ran.stdout
    assert f"{name} is open again" in ran.stdout
    half.database.execute(acknowledged)
    assert half.trips("doubled_in_batches")[-1] == ("of another", 7)


def test_others_that_try_to_write_meanwhile_are_told(half):
    statement = "INSERT INTO doubled_in_batches_trip (purpose, km) VALUES ('of another', 7)"
    half.env["MEANWHILE"] = f'{{"failing": ["{statement}"]}}'

    ran = half.run("safe_migrate", "--exclusive", check=3)

    assert "is not currently accepting connections" in ran.stdout + ran.stderr
    assert half.trips("doubled_in_batches") == HALF


@pytest.mark.parametrize(
    "moment",
    [
        "backup_started:after",
        "migration_started:after",
        "restore_started:after",
        "restored_beside:after",
        "swap_started:after",
        "swapped:before",
        "swapped:after",
        "recovered:after",
    ],
)
def test_killed_it_is_opened_by_the_next_run_and_nothing_is_lost(half, moment):
    killed = half.run("safe_migrate", "--exclusive", env={"KILL_AT": f"journal:{moment}"})
    assert killed.code == -signal.SIGKILL and left_closed(half)

    report = half.run("backup", check=1).stderr
    assert "was closed by process" in report and "python manage.py restore" in report

    again = half.run("safe_migrate")

    assert "had closed" in again.stdout and "open again" in again.stdout
    assert not left_closed(half)
    assert half.trips("doubled_in_batches") in (HALF, DOUBLED_ONCE)
    kept = [half.database.beside(name) for name in half.database.databases()]
    contents = [each.query("SELECT km FROM doubled_in_batches_trip ORDER BY id") for each in kept]
    assert [(10,), (0,), (30,)] in contents or "manage.py restore 2" in again.stderr


def test_nothing_to_do_closes_nothing(half):
    half.run("migrate", "--fake", check=0)
    with closing(half.database.connect()) as connection:
        half.run("safe_migrate", "--exclusive", check=0)
        connection.execute("SELECT 1")


def test_a_pool_of_django_is_no_obstacle(half):
    import environ

    before = portrait(half.database)
    url = environ.Env.db_url_config(half.database.url)
    url["OPTIONS"] = {**url.get("OPTIONS", {}), "pool": {"min_size": 1, "max_size": 2}}
    half.settings(DATABASES={"default": url})

    ran = half.run("safe_migrate", "--exclusive", check=3, timeout=25)

    assert "error connecting" not in ran.stderr
    assert portrait(half.database) == before and not left_closed(half)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_sigterm_while_it_is_opened_again_is_too_late(half, moment):
    half.database.execute("UPDATE doubled_in_batches_trip SET km = 5 WHERE purpose = 'second'")

    ran = half.run(
        "safe_migrate", "--exclusive", env={"TERMINATE_AT": f"journal:finished:{moment}"}
    )

    assert ran.code == 0 and f"{half.database.name} is open again" in ran.stdout
    assert not left_closed(half)
