"""What goes on, and what was cut off."""

from dataclasses import replace

import pytest

from deploy_ops.lock_file import Holder
from deploy_ops.release.page import work
from deploy_ops.release.page.tone import Tone
from deploy_ops.restore.interrupted import SWAPPING, Restoring
from tests.deploy_ops.release.page import scene
from tests.deploy_ops.release.page.scene import NOW, RUN, record

HOLDER = Holder("safe_migrate", 4711, "web1", NOW)


def test_run_half_way(state):
    found = work.work([HOLDER], [record(state, *scene.HALF_WAY)], [])
    (run,) = found.runs
    assert (run.done, run.total, run.current) == (2, 4, "reisekosten.0007_step")
    assert (run.stage, run.is_alive, found.tone) == (work.Stage.APPLYING, True, Tone.BUSY)
    assert run.backup == "20260131T020000Z-0a1b2c3d"


@pytest.mark.parametrize(
    ("last", "stage"),
    [
        ([], work.Stage.BEGINNING),
        ([{"step": "backup_started"}], work.Stage.BACKUP),
        ([{"step": "migration_failed", "migrations": []}], work.Stage.FAILED),
        ([{"step": "swap_started"}, {"step": "of a later version"}], work.Stage.SWAPPING),
    ],
)
def test_stage_is_that_of_the_last_step_that_tells(state, last, stage):
    (run,) = work.work([HOLDER], [record(state, scene.started(), *last)], []).runs
    assert run.stage is stage


@pytest.mark.parametrize(
    "holder",
    [
        None,
        Holder("safe_migrate", 4712, "web1", NOW),
        Holder("safe_migrate", 4711, "web2", NOW),
        Holder("", 0, "", None),
    ],
)
def test_run_whose_process_holds_no_lock_was_cut_off(state, holder):
    holders = [holder] if holder else []
    found = work.work(holders, [record(state, *scene.HALF_WAY)], [])
    assert (found.runs[0].is_alive, found.tone) == (False, Tone.BAD)


def test_host_may_be_cut_in_the_name_of_a_session(state):
    start = scene.started(host="web1.rather.long.example.org")
    found = work.work([replace(HOLDER, host="web1.rather.l")], [record(state, start)], [])
    assert found.runs[0].is_alive


@pytest.mark.parametrize(
    "start",
    [
        {"step": "started"},
        {"step": "started", "plan": "all", "process": [], "host": {}},
        {"step": "migration_started", "migrations": 3},
        {"step": "migration_applied", "migrations": [1, ["a", 2]]},
    ],
)
def test_journal_may_have_anything(state, start):
    (run,) = work.work([HOLDER], [record(state, start)], []).runs
    assert (run.total, run.is_alive) == (0, False)


def test_restore_goes_on_while_its_command_holds_the_lock():
    restoring = Restoring("postgresql:1:kvb", RUN, "kvb_restoring", "kvb_before", None, SWAPPING)
    (found,) = work.work([Holder("restore", 1, "web1", NOW)], [], [restoring]).restores
    assert (found.is_swapping, found.is_alive) == (True, True)
    (left,) = work.work([Holder("backup", 1, "web1", NOW)], [], [restoring]).restores
    assert not left.is_alive
