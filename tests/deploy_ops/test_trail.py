"""What is done is noted, whatever becomes of it; and nothing fails because it cannot be noted."""

import base64
import json
from dataclasses import replace

import pytest

from deploy_ops import deliver
from deploy_ops.audit import AUDIT, SMOKE_ACCOUNT, Event, Kind, Outcome, read_events
from deploy_ops.errors import RestoreRefused, SwapUnfinished, UsageError
from deploy_ops.trail import note, noted
from tests.receiver import receiving

EVENT = Event(Kind.FLAG, Outcome.DONE, "1.4.2", by="anna")


@pytest.fixture(autouse=True)
def state(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "state"
    return tmp_path / "state"


def test_beginning_and_end_are_noted(state):
    with noted(Kind.RESTORE, backup="b1"):
        (begun,) = read_events(state)
    begun_again, end = read_events(state)
    assert begun == begun_again and begun.outcome is Outcome.STARTED
    assert (end.kind, end.outcome, end.details) == (Kind.RESTORE, Outcome.DONE, {"backup": "b1"})
    assert end.seconds is not None and end.version == begun.version != ""


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (UsageError("There is no such id."), Outcome.REFUSED, "There is no such id."),
        (RestoreRefused("Rows were written. Nothing was changed."), Outcome.REFUSED, "Rows were"),
        (SwapUnfinished("Look."), Outcome.FAILED, "Look."),
        (KeyboardInterrupt(), Outcome.FAILED, "Stopped by the operator."),
        (ValueError('value "geheim" is none'), Outcome.FAILED, "value"),
    ],
)
def test_why_it_failed_is_noted(state, error, outcome, message):
    with pytest.raises(type(error)), noted(Kind.RESTORE):
        raise error
    end = read_events(state)[-1]
    assert end.outcome is outcome and end.message.startswith(message)
    assert "geheim" not in end.message


def test_what_does_not_raise_says_how_it_ended(state):
    with noted(Kind.CONTRACT) as ending:
        ending.outcome, ending.message = Outcome.FAILED, "a lock was not granted"
    assert read_events(state)[-1].message == "a lock was not granted"


def test_an_audit_that_cannot_be_written_stops_nothing(state, caplog):
    state.mkdir(mode=0o755)
    with noted(Kind.RESTORE):
        pass
    assert not (state / AUDIT).exists()
    assert "lacks a restore" in caplog.text and "open to other users" in caplog.text


def test_receivers_without_a_secret_stop_nothing(state, settings, caplog):
    settings.DEPLOY_OPS_NOTIFY = ["https://hooks.example.org/"]
    note(EVENT)
    assert read_events(state) == [EVENT]
    assert "DEPLOY_OPS_NOTIFY_SECRET_FILE" in caplog.text


def test_nobody_is_woken_by_what_a_smoke_test_switches_for_itself(state, settings, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(base64.b64encode(b"0" * 32).decode())
    settings.DEPLOY_OPS_NOTIFY_SECRET_FILE = secret
    smoke = f"{SMOKE_ACCOUNT}0123"
    events = [
        replace(EVENT, by=by, details={"flag": "export", "source": source})
        for by, source in [(smoke, "code"), ("anna", "code"), (smoke, "admin")]
    ]
    with receiving() as receiver:
        settings.DEPLOY_OPS_NOTIFY = [receiver.url]
        for event in events:
            note(event)
            for thread in tuple(deliver._under_way):
                thread.join(10)
    told = [json.loads(body)["data"] for _, _, body in receiver.told]
    assert [(each["by"], each["details"]["source"]) for each in told] == [
        ("anna", "code"),
        (smoke, "admin"),
    ]
    assert read_events(state) == events
