"""`safe_migrate --safety clone`: a clone in a moment, put back by a swap, saved as a backup after."""

import signal
import threading
from contextlib import closing

import pytest

from tests.drills.portraits import portrait

HALF = [("first", 10), ("second", 0), ("third", 30)]
DOUBLED_ONCE = [("first", 20), ("second", 0), ("third", 30)]
postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
pg15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
MIGRATE = ("safe_migrate", "--safety", "clone")


@pytest.fixture
def half(deployed):
    return deployed("doubled_in_batches", trips=HALF)


@pytest.fixture
def good(deployed):
    return deployed("good_expand", trips=[("first", 10)])


@postgresql
def test_backup_of_before_the_run_is_made_of_it_afterwards(good):
    before = portrait(good.database)

    result = good.json(*MIGRATE, check=0)

    assert result["safety"]["method"] == "clone"
    assert result["findings"] == [], result["findings"][0]["msg"]
    steps = [step["step"] for step in good.journal()]
    assert steps.index("point_made") < steps.index("migration_applied") < steps.index("backed_up")
    assert good.database.databases() == [good.database.name]  # it is gone again
    good.run("restore", result["backup"], "--no-input", "--confirm", good.database.name, check=0)
    assert portrait(good.database) == before


@postgresql
def test_failed_half_way_it_is_swapped_in(half):
    before = portrait(half.database)

    result = half.json(*MIGRATE, check=3)

    assert result["recovery"]["rung"] == "restored" and result["backup"] is None
    assert "the clone of the database from before the run, is live again" in (
        result["recovery"]["message"]
    )
    assert portrait(half.database) == before
    failed = half.database.beside(result["recovery"]["previous_database"])
    assert failed.query("SELECT purpose, km FROM doubled_in_batches_trip ORDER BY id") == (
        DOUBLED_ONCE
    )
    assert sorted(half.database.databases()) == sorted([half.database.name, failed.name])


@pg15
def test_others_who_wrote_since_lose_nothing_and_the_clone_is_there_to_be_put_back(half):
    statement = "INSERT INTO doubled_in_batches_trip (purpose, km) VALUES ('of another', 7)"
    half.env["MEANWHILE"] = f'{{"failing": ["{statement}"]}}'

    failed = half.run(*MIGRATE, check=4)

    assert "have written since the clone was made" in failed.stderr
    [clone] = [name for name in half.database.databases() if "_point_" in name]
    assert f"restore --to-point {clone}" in failed.stderr
    assert half.trips("doubled_in_batches")[-1] == ("of another", 7)
    asked = half.run("restore", "--to-point", clone, "--no-input", check=1)
    assert "--confirm" in asked.stderr
    name = half.database.name
    restored = half.run("restore", "--to-point", clone, "--no-input", "--confirm", name, check=0)
    assert "doubled_in_batches_trip: 1" in restored.stdout
    assert half.trips("doubled_in_batches") == HALF
    assert clone not in half.database.databases()


@pg15
def test_sessions_of_others_are_ended_only_if_somebody_agrees(good):
    with closing(good.database.connect()) as connection:
        connection.execute("SELECT 1")
        refused = good.run(*MIGRATE, "--no-input", check=1)
        assert "ends the sessions of others (1 now)" in refused.stderr
        asked = good.run(*MIGRATE, input="n\n", check=1)
        assert "End them? [y/N]" in asked.stdout
        connection.execute("SELECT 1")  # still there
        good.run(*MIGRATE, input="y\n", check=0)


@pg15
@pytest.mark.parametrize(
    "moment",
    ["point_started:after", "point_made:before", "point_made:after", "migration_started:after"]
    + ["restore_started:after", "swap_started:after", "swapped:before", "recovered:after"],
)
def test_killed_nothing_is_lost_and_the_next_run_goes_on(half, moment):
    before = portrait(half.database)
    killed = half.run(*MIGRATE, env={"KILL_AT": f"journal:{moment}"})
    assert killed.code == -signal.SIGKILL

    again = half.run(*MIGRATE)

    assert again.code in (3, 4)
    others = [half.database.beside(name) for name in half.database.databases()]
    assert before in [portrait(each) for each in others]


@pg15
def test_slot_of_the_live_database_is_not_left_behind(half):
    """It would stay with the failed database, and whoever reads it would miss what comes."""
    name, slot = half.database.name, f"feed_{half.database.name}"
    create = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
    half.database.cluster.execute(create, [slot], dbname=name)

    failed = half.run(*MIGRATE, check=4)

    assert f"Replication slot {slot} belongs to {name}" in failed.stderr
    assert half.trips("doubled_in_batches") == DOUBLED_ONCE
    [clone] = [each for each in half.database.databases() if "_point_" in each]
    again = half.run("restore", "--to-point", clone, "--no-input", "--confirm", name, check=1)
    assert f"pg_drop_replication_slot('{slot}')" in again.stderr
    assert clone in half.database.databases()
    half.database.cluster.execute("SELECT pg_drop_replication_slot(%s)", [slot])


@pg15
def test_superuser_is_waited_for_before_requests_are_held(good, tmp_path):
    hold = tmp_path / "hold"
    held = []
    settings = good.settings(DEPLOY_OPS_HOLD_FILE=str(hold))
    with good.database.cluster.connect(good.database.name) as superuser:
        superuser.execute("SET application_name = 'rdsadmin'")
        leave = threading.Timer(8, lambda: (held.append(hold.exists()), superuser.close()))
        leave.start()
        result = settings.json(*MIGRATE, check=0)
        leave.join()
    assert result["safety"]["method"] == "clone" and held == [False]


@pg15
def test_clone_that_a_kill_left_unfinished_is_named(good):
    """Complete in the server, and without what it takes to put it back."""
    killed = good.run(*MIGRATE, env={"KILL_AT": "journal:point_made:before"})
    assert killed.code == -signal.SIGKILL
    [clone] = [each for each in good.database.databases() if "_point_" in each]

    again = good.run("safe_migrate", check=0)

    assert f"It ended while {clone} was made" in again.stdout


@pg15
def test_clone_that_takes_too_long_makes_room_for_a_backup(good):
    """Of auto; one that was asked for by name is refused, and the database is as it was."""
    settings = good.settings(DEPLOY_OPS_CLONE_LIMIT=0.001)
    refused = settings.run(*MIGRATE, check=1)
    assert "could not be cloned within" in refused.stderr
    assert good.database.databases() == [good.database.name]
    plan = settings.json("safe_migrate", "--plan", check=0)
    assert plan["safety"]["method"] == "dump" and "quick" in plan["safety"]["others"]["clone"]


@pg15
def test_clone_that_cannot_be_saved_stays_and_is_named(good):
    no_directory = good.directory / "file"
    no_directory.touch()
    result = good.settings(DEPLOY_OPS_BACKUP_DIR=str(no_directory)).json(*MIGRATE, check=0)
    [finding] = [each for each in result["findings"] if each["id"] == "deploy_ops.V006"]
    [clone] = [name for name in good.database.databases() if "_point_" in name]
    assert clone in finding["msg"] and result["backup"] is None
