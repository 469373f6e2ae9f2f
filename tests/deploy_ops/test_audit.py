"""The audit: every event is kept, and what cannot be read stops nothing."""

from deploy_ops.audit import AUDIT, Event, Kind, Outcome, operator, read_events, record_event


def test_events_come_back_in_order(tmp_path):
    events = [
        Event(Kind.DEPLOYMENT, Outcome.STARTED, "v1.2.3", by="anna"),
        Event(Kind.DEPLOYMENT, Outcome.DONE, "v1.2.3", seconds=3.5, details={"from": "v1.2.2"}),
    ]
    for event in events:
        record_event(tmp_path, event)
    assert read_events(tmp_path) == events
    assert (tmp_path / AUDIT).stat().st_mode & 0o777 == 0o600


def test_no_audit_is_an_empty_one(tmp_path):
    assert read_events(tmp_path) == []


def test_lines_of_a_newer_version_and_damaged_ones_are_passed_over(tmp_path):
    record_event(tmp_path, Event(Kind.FLAG, Outcome.DONE, "v1"))
    with (tmp_path / AUDIT).open("a") as file:
        file.write('{"kind": "moon landing", "outcome": "done", "version": "v2"}\n')
        file.write('{"kind": "flag", "outcome": "done", "version": "v2", "more": 1}\n')
        file.write('{"kind": "fl')
    record_event(tmp_path, Event(Kind.FLAG, Outcome.DONE, "v3"))
    assert [event.version for event in read_events(tmp_path)] == ["v1", "v3"]


def test_who_it_was(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "berta")
    monkeypatch.delenv("DEPLOY_BY", raising=False)
    assert operator() == "berta"
    monkeypatch.setenv("DEPLOY_BY", "anna (pipeline 7)")
    assert operator() == "anna (pipeline 7)"
