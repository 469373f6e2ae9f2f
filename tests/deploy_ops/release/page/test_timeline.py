"""Beginnings and ends, put together."""

from dataclasses import replace

import pytest

from deploy_ops.audit import SMOKE_ACCOUNT, Kind, Outcome, record_event
from deploy_ops.conf import conf
from deploy_ops.release.page.timeline import SHOWN, read
from deploy_ops.release.timeline import read_timeline, timeline
from tests.deploy_ops.release.page import scene
from tests.deploy_ops.release.page.scene import NEW, NOW, OLD, RUN, before, record


def test_end_belongs_to_its_beginning():
    found = timeline(scene.EVENTS, [], {})
    assert [(each.kind, each.version, each.outcome, each.seconds) for each in found] == [
        ("canary", NEW, "started", None),
        ("deployment", "1.4.3", "failed", 31.0),
        ("deployment", OLD, "done", 68.4),
        ("deployment", "1.4.1", "done", 71.2),
    ]
    assert found[2].before == "1.4.1"


def test_time_taken_is_counted_where_nobody_noted_it():
    events = [
        scene.event(Kind.CONTRACT, Outcome.STARTED, NEW, before(minutes=3)),
        scene.event(Kind.CONTRACT, Outcome.DONE, NEW, before(minutes=1)),
    ]
    (found,) = timeline(events, [], {})
    assert found.seconds == 120


def test_second_beginning_leaves_the_first_without_an_end():
    begun = scene.event(Kind.DEPLOYMENT, Outcome.STARTED, NEW, before(hours=2))
    again = [replace(each, at=NOW.isoformat()) for each in scene.deployed(NEW, "blue", NOW, 9)]
    found = timeline([begun, *again], [], {})
    assert [each.outcome for each in found] == ["done", "started"]


@pytest.mark.parametrize(
    ("last", "outcome", "version"),
    [
        ([{"step": "finished", "status": "ok"}], "done", NEW),
        ([{"step": "finished", "status": "recovered"}], "recovered", NEW),
        ([{"step": "finished", "status": "error"}], "failed", NEW),
        ([{"step": "resolved", "outcome": ""}], "resolved", NEW),
        ([], "started", NEW),
    ],
)
def test_runs_end_as_their_journals_say(state, last, outcome, version):
    run = record(state, scene.started(), *last)
    (found,) = timeline([], [run], {RUN: version})
    assert (found.outcome, found.version, found.steps) == (outcome, version, 4)


@pytest.mark.parametrize("at", ["yesterday", 3, None, "", "0001-01-01T00:00:00+23:59"])
def test_event_without_a_time_is_left_out(at):
    event = replace(scene.EVENTS[0], at=at)
    assert timeline([event], [], {}) == []


def test_fields_may_be_anything_and_passwords_are_hidden():
    event = replace(
        scene.EVENTS[0], by=3, version=None, seconds="long", message="password=geheim x"
    )
    (found,) = timeline([event], [], {})
    assert found.seconds is None and "geheim" not in found.message


@pytest.mark.parametrize(
    ("kind", "details", "subject"),
    [
        (Kind.FLAG, {"flag": "csv_export"}, "csv_export"),
        (Kind.RESTORE, {"backup": "b1", "database": "kvb"}, "b1"),
        (Kind.RESTORE, {"backup": "b1", "into": "drill"}, "b1 into drill"),
        (Kind.CHECK, {}, ""),
    ],
)
def test_what_it_was_done_to_is_named(kind, details, subject):
    (found,) = timeline([scene.event(kind, Outcome.DONE, NEW, NOW, details=details)], [], {})
    assert found.subject == subject


@pytest.mark.parametrize(
    ("plan", "shown"),
    [([["shop", "0002_x#0", False]], 0), ([["shop", "0002_x", False]], 1), (3, 1)],
)
def test_run_of_the_contract_phase_is_shown_by_the_audit_alone(state, plan, shown):
    run = record(state, scene.started() | {"plan": plan})
    assert len(timeline([], [run], {})) == shown


def test_page_shows_the_newest_without_changes_of_flags(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path
    for n in range(30, 0, -1):
        record_event(conf.state_dir, scene.event(Kind.CHECK, Outcome.DONE, NEW, before(hours=n)))
        record_event(conf.state_dir, scene.event(Kind.FLAG, Outcome.DONE, NEW, before(minutes=n)))
    found = read().entries
    assert len(found) == SHOWN and {each.kind for each in found} == {"check"}
    assert found[0].at > found[-1].at


def test_what_a_smoke_test_switches_for_itself_is_not_listed(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path
    smoke = f"{SMOKE_ACCOUNT}0123"
    for by, source in (("anna", "cli"), (smoke, "code"), (smoke, "admin")):
        event = scene.event(Kind.FLAG, Outcome.DONE, NEW, NOW, details={"source": source})
        record_event(tmp_path, replace(event, by=by))
    assert [each.by for each in read_timeline(9)] == [smoke, "anna"]
