"""kill -9 of safe_migrate at every step of its journal: the next run finds out and goes on.

Killing before step n + 1 is killing after step n, so `before` alone covers both.
"""

import json
import re
import signal

import pytest

from tests.drills.conftest import TRIPS

STEPS_OF_A_REVERSED_RUN = 11
STEPS_OF_A_RESTORED_RUN = 13


def killed_before(project, step_number: int):
    """Run safe_migrate and kill it before its n-th record."""
    killed = project.run("safe_migrate", env={"KILL_AT": f"journal:*:before:{step_number}"})
    assert killed.code == -signal.SIGKILL, killed


def unresolved(project) -> list[str]:
    ended = {"finished", "resolved"}
    return [
        path.stem
        for path in project.runs()
        if not any(step["step"] in ended for step in project.journal(path))
    ]


def test_the_number_of_steps_is_what_the_drills_below_walk(deployed):
    """If a step is added, the ranges below must grow with it."""
    project = deployed("bad_third")
    project.run("safe_migrate", check=3)
    assert len(project.journal()) == STEPS_OF_A_REVERSED_RUN, [s["step"] for s in project.journal()]


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
@pytest.mark.parametrize("number", range(1, STEPS_OF_A_REVERSED_RUN + 1))
def test_killed_while_migrating_or_reversing(deployed, number):
    project = deployed("bad_third")
    killed_before(project, number)

    project.run("safe_migrate", check=3)

    assert project.trips("bad_third") == TRIPS
    assert unresolved(project) == []
    schema = project.database.schema()
    recorded = {
        name
        for (name,) in project.database.query(
            "SELECT name FROM django_migrations WHERE app = 'bad_third'"
        )
    }
    assert ("note" in schema["bad_third_trip"]) == ("0002_note" in recorded)
    assert ("bad_third_receipt" in schema) == ("0003_receipt" in recorded)


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
@pytest.mark.parametrize("number", range(1, STEPS_OF_A_RESTORED_RUN + 1))
def test_killed_while_restoring(deployed, number):
    project = deployed("bad_lossy")
    killed_before(project, number)

    again = project.run("safe_migrate", check=3)

    assert unresolved(project) == []
    if "purpose" not in project.database.schema()["bad_lossy_trip"]:
        # The lossy step was done when the run was killed. It went on forwards from there, and
        # what the step took is in the backup that the message names.
        [backup] = re.findall(r"Its backup is (\S+)\.", again.stdout)
        project.run("restore", backup, "--noinput", "--confirm", project.database.name, check=0)
    assert project.trips("bad_lossy") == TRIPS


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_the_steps_of_a_restored_run(deployed):
    project = deployed("bad_lossy")
    project.run("safe_migrate", check=3)
    assert len(project.journal()) == STEPS_OF_A_RESTORED_RUN, [s["step"] for s in project.journal()]


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_a_full_disk_under_the_journal_stops_between_steps(deployed):
    project = deployed("bad_third")
    env = {"RAISE_AT": "journal:migration_applied:before"}
    failed = project.run("safe_migrate", "--format", "json", env=env)
    assert failed.code == 4, failed
    assert "No space left on device" in failed.json()["message"]
    assert "safe_migrate" in failed.json()["message"]
    assert "Traceback" not in failed.stderr

    project.run("safe_migrate", check=3)

    assert unresolved(project) == []
    assert project.trips("bad_third") == TRIPS


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_nothing_is_committed_whose_announcement_does_not_reach_the_disk(deployed):
    """The step itself works, while its record is synced."""
    project = deployed("bad_third")
    env = {"UNSYNCED_AT": "journal:migration_started:after"}
    failed = project.run("safe_migrate", env=env, check=4)
    assert "Stopped before a COMMIT: what was committed until then stays" in failed.stderr
    assert "note" not in project.database.schema()["bad_third_trip"]
    assert project.trips("bad_third") == TRIPS

    project.run("safe_migrate", check=3)
    assert unresolved(project) == []


def test_what_was_found_out_is_told_and_written_down(deployed):
    project = deployed("good_expand")
    killed = project.run("safe_migrate", env={"KILL_AT": "journal:migration_applied:before"})
    assert killed.code == -signal.SIGKILL
    again = project.run("safe_migrate", check=0)
    assert "did not end" in again.stdout
    assert "is recorded. post_migrate was sent, and the release is recorded." in again.stdout
    [last] = [json.loads(line) for line in project.runs()[0].read_text().splitlines()][-1:]
    assert last["step"] == "resolved"
