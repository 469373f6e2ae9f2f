"""1 says that nothing was changed. After a commit it is never said, whatever is raised or kills."""

import json
import signal
import subprocess
import sys

import pytest

from tests.drills.conftest import with_two_of_three_applied
from tests.drills.portraits import portrait
from tests.project.commands import REPOSITORY

POSTGRESQL = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)


@pytest.mark.parametrize("how", ["value", "exit", "recursion", "speechless", "unusual"])
def test_whatever_a_migration_raises(deployed, how):
    project = deployed("fails_in_its_transaction")
    before = portrait(project.database)
    result = project.run("safe_migrate", "--format", "json", env={"FAILS_BY": how}, check=3)
    assert result.json()["recovery"]["rung"] == "rolled_back"
    assert "Traceback" not in result.stderr
    assert portrait(project.database) == before


def test_sigterm_in_a_migration_is_recovered_from(deployed):
    project = deployed("fails_in_its_transaction")
    before = portrait(project.database)
    result = project.run("safe_migrate", env={"MEANWHILE": '{"failing": ["terminate"]}'}, check=3)
    assert "Traceback" not in result.stderr
    assert portrait(project.database) == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_sigterm_right_after_a_commit_is_recovered_from(deployed, moment):
    project = deployed("good_expand")
    before = portrait(project.database)

    env = {"TERMINATE_AT": f"journal:migration_applied:{moment}"}
    result = project.json("safe_migrate", env=env, check=3)

    assert result["recovery"]["rung"] == "reversed"
    assert portrait(project.database) == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_sigterm_when_all_is_done_is_too_late(deployed, moment):
    project = deployed("good_expand")

    result = project.run("safe_migrate", env={"TERMINATE_AT": f"journal:finished:{moment}"})

    assert result.code == 0
    assert "Done: 2 migrations" in result.stdout


@pytest.mark.parametrize("moment", ["before", "after"])
def test_sigterm_when_it_is_recovered_is_too_late(deployed, moment):
    project = deployed("fails_in_its_transaction")

    result = project.run("safe_migrate", env={"TERMINATE_AT": f"journal:recovered:{moment}"})

    assert result.code == 3
    assert "left nothing behind" in result.stderr


@pytest.mark.parametrize(("app", "code"), [("good_expand", 0), ("fails_in_its_transaction", 3)])
def test_nobody_reads_its_output_any_more(deployed, app, code):
    project = deployed(app)
    command = [sys.executable, "-m", "django", "safe_migrate", "--on-failure", "reverse"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stderr
        while "is verified" not in process.stdout.readline():
            pass
        process.stdout.close()
        said = process.stderr.read()

    assert process.returncode == code
    assert "Traceback" not in said and "Broken pipe" not in said


def test_its_output_is_a_full_disk(deployed):
    project = deployed("good_expand")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "django", "safe_migrate"],
            cwd=REPOSITORY,
            env=project.env,
            stdout=full,
            stderr=full,
            check=False,
        )
    assert done.returncode == 0
    assert project.journal()[-1]["status"] == "ok"


@pytest.mark.parametrize("step", ["swap_started", "swapped"])
def test_sigterm_inside_the_restore(deployed, step):
    project = deployed("drops_and_fails")
    before = portrait(project.database)
    env = {"TERMINATE_AT": f"journal:{step}:after"}
    result = project.run("safe_migrate", "--format", "json", env=env)
    assert result.code in (3, 4), result
    assert "Traceback" not in result.stderr
    if result.code == 3:
        assert portrait(project.database) == before
        assert result.json()["recovery"]["rung"] == "restored"
    else:
        assert result.json()["recovery"]["rung"] == "manual_intervention"
        assert "purpose" not in project.database.schema()["drops_and_fails_trip"]


def test_a_full_disk_at_the_release_record_is_finished_by_the_next_run(deployed):
    project = deployed("good_expand")
    releases = project.ops_dir / "releases.jsonl"

    result = project.json("safe_migrate", env={"FULL_DISK_FOR": "releases.jsonl"}, check=4)

    assert result["applied"] == [
        ["good_expand", "0002_cost_centre"],
        ["good_expand", "0003_km_index"],
    ]
    assert "All migrations are applied and committed" in result["recovery"]["message"]
    assert not releases.exists()
    project.run("safe_migrate", check=0)
    assert result["run"] in releases.read_text()


def test_a_post_migrate_that_raises_is_sent_again_by_the_next_run(deployed):
    project = deployed("bad_post_migrate")
    result = project.json("safe_migrate", check=4)
    again = project.run("safe_migrate")
    assert again.code == 4, again
    assert "Traceback" not in again.stderr
    assert "the search server does not answer" in again.stderr
    assert not (project.ops_dir / "releases.jsonl").exists()
    assert result["recovery"]["rung"] == "not_needed"


def test_a_kill_between_the_last_commit_and_post_migrate(project):
    with_two_of_three_applied(project)
    killed = project.run("safe_migrate", env={"KILL_AT": "journal:migration_applied:after"})
    assert killed.code == -signal.SIGKILL
    assert ("post_migrate", 0) not in project.trips("squashed_three")
    [run] = [path.stem for path in project.runs()]

    again = project.run("safe_migrate", check=0)

    assert "post_migrate was sent, and the release is recorded" in again.stdout
    assert ("post_migrate", 0) in project.trips("squashed_three")
    assert run in (project.ops_dir / "releases.jsonl").read_text()


@POSTGRESQL
def test_the_database_goes_away_in_a_migration(deployed):
    project = deployed("fails_in_its_transaction")
    before = portrait(project.database)
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'deploy_ops/2%'"
    )
    result = project.run("safe_migrate", env={"MEANWHILE": json.dumps({"failing": [end]})}, check=3)
    assert "Traceback" not in result.stderr
    assert portrait(project.database) == before


def test_its_output_has_no_such_letters(deployed):
    """Not a reason to leave without the recovery."""
    project = deployed("unwound_by_belief")
    env = {"PYTHONIOENCODING": "ascii", "SPEAKS": "Größe → 5 €", "FAILS": "1"}

    result = project.finish(project.start("safe_migrate", env=env))

    assert result.code == 3
    assert "\\u2192" in result.stdout and "left nothing behind" in result.stderr
