"""What waits for the contract phase, and for whom."""

from dataclasses import replace

from deploy_ops.phases import instances
from deploy_ops.release.page import changes
from deploy_ops.release.page.tone import Tone
from tests.deploy_ops.release.page import scene
from tests.deploy_ops.release.page.scene import NEW, OLD, before


def test_rows_wait_for_the_release_before():
    found = changes.changes(scene.change_facts())
    assert (found.older, found.due, found.may_run, found.tone) == ((OLD,), 1, False, Tone.BUSY)


def test_nobody_of_an_older_release_lets_them_run():
    facts = scene.change_facts()
    processes = replace(facts.processes, processes=[instances.Process(NEW, "")])
    assert changes.changes(replace(facts, processes=processes, findings=[])).may_run


def test_session_without_a_name_holds_them():
    facts = scene.change_facts()
    processes = replace(facts.processes, processes=[instances.Process(None, "psql")])
    found = changes.changes(replace(facts, processes=processes))
    assert (found.nameless, found.may_run) == (1, False)


def test_heartbeats_that_are_too_young_hold_them():
    facts = scene.change_facts()
    young = replace(facts.processes, processes=[], heartbeats_since=before(minutes=1))
    findings = list(instances.findings_of(young, "default"))
    found = changes.changes(replace(facts, processes=young, findings=findings))
    assert (found.older, found.nameless, found.may_run) == ((), 0, False)


def test_failure_is_for_a_person_and_what_is_left_out_is_not_due():
    rows = [scene.row(last_error="lock timeout"), scene.row(skipped_because="next year")]
    found = changes.changes(scene.change_facts(rows=rows))
    assert [each.state for each in found.waiting] == ["failed", "skipped"]
    assert (found.due, found.tone) == (1, Tone.BAD)


def test_many_pending_migrations_are_counted_and_some_named():
    pending = [f"trips.{number:04}" for number in range(50)]
    found = changes.changes(scene.change_facts(pending=pending, rows=[], processes=None))
    assert (found.pending, len(found.named), found.tone) == (50, 10, Tone.WARN)
