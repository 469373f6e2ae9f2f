"""The sections as a process of the application reads them, in a project without administration."""

import json
import signal
import time
from contextlib import closing

import pytest

from tests.project.runner import TIMEOUT_SECONDS

READ = """
import json, sys, time
from deploy_ops.release.page.reading import read_all
from deploy_ops.release.page.sections import SECTIONS
for section in SECTIONS:
    section.probe._deadline *= PATIENCE
started = time.monotonic()
found = read_all(SECTIONS)
seconds = time.monotonic() - started
assert "django.contrib.admin" not in sys.modules
work, backfills, versions = (found[name].values for name in ("work", "backfills", "versions"))
print(json.dumps({
    "problems": {name: each.problem for name, each in found.items() if each.problem},
    "seconds": seconds,
    "versions": [each.name for each in versions.all] if versions else None,
    "holders": [each.purpose for each in work.holders] if work else None,
    "runs": [[each.stage, each.is_alive] for each in work.runs] if work else None,
    "backups": found["backups"].values.number,
    "backfills": [each.name for each in backfills.all] if backfills else None,
    "timeline": [[each.kind, each.outcome] for each in found["timeline"].values.entries],
}))
"""
EMPTY = {"problems": {}, "holders": [], "runs": [], "backups": 0, "timeline": []}
one_of_each = pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["pg15"], indirect=True)


def read(project, patience: int = 10) -> dict:
    """What a process reads, on a machine that may be busy: so many times the deadline."""
    script = READ.replace("PATIENCE", str(patience))
    return json.loads(project.run("shell", "-v0", "-c", script, check=0).stdout)


def wait_for_step(project, step: str) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not (project.runs() and any(each["step"] == step for each in project.journal())):
        assert time.monotonic() < end
        time.sleep(0.05)


@one_of_each
@pytest.mark.parametrize("use_tz", [True, False])
def test_everything_can_be_read_where_nothing_was_done_yet(project, use_tz):
    project.settings(USE_TZ=use_tz).run("migrate", check=0)
    with closing(project.database.connect()):
        found = read(project)
    assert {name: found[name] for name in EMPTY} == EMPTY
    assert found["versions"] and found["backfills"] == []


@one_of_each
def test_database_before_its_first_migration_hides_no_file(project):
    found = read(project)
    assert set(found["problems"]) <= {"health", "changes", "flags", "versions"}
    assert found["backups"] == 0 and found["holders"] == []


@one_of_each
def test_run_at_work_is_seen_until_it_ends(project):
    project.with_apps("slow_migration").run("migrate", "slow_migration", "0001", check=0)
    project.run("migrate", "deploy_ops", check=0)
    running = project.start("safe_migrate", "--noinput", env={"SLOW_MIGRATION_SECONDS": "2"})
    wait_for_step(project, "migration_started")
    running.send_signal(signal.SIGSTOP)
    found = read(project)
    running.send_signal(signal.SIGCONT)
    assert found["holders"] == ["safe_migrate"]
    assert found["runs"] == [["applying", True]]
    assert found["timeline"] == [["migration", "started"]]
    assert project.finish(running).code == 0
    found = read(project)
    assert (found["holders"], found["runs"]) == ([], [])
    assert found["timeline"] == [["migration", "done"]]
    assert found["backups"] == 1


@one_of_each
def test_killed_run_is_told_from_one_at_work(project):
    project.with_apps("good_expand")
    project.run("safe_migrate", "--noinput", env={"KILL_AT": "journal:backed_up:after"})
    found = read(project)
    assert found["holders"] == []
    assert found["runs"] == [["applying", False]]


@on_postgresql
def test_table_that_somebody_has_locked_holds_up_one_section_only(project):
    project.run("migrate", check=0)
    with project.database.connect() as connection:
        connection.execute("BEGIN; LOCK TABLE deploy_ops_backfillprogress")
        found = read(project, patience=1)
        connection.execute("ROLLBACK")
    assert found["problems"] == {"backfills": "no answer within 2 s"}
    assert found["seconds"] < 4


@on_postgresql
def test_database_that_is_away_leaves_what_lies_in_files(project):
    project.run("migrate", check=0)
    project.run("backup", "--noinput", check=0)
    url = project.env["DATABASE_URL"]
    project.env["DATABASE_URL"] = url.replace(project.database.name, "gone")
    found = read(project)
    assert found["backups"] == 1 and found["timeline"] == []
    assert set(found["problems"]) == {"versions", "changes", "flags", "backfills"}
    assert not any("password" in reason for reason in found["problems"].values())
