"""What a call that was killed has left: recognised by facts, then finished or undone."""

from deploy_ops.audit import Event, Kind, Outcome
from deploy_ops.release.host import units
from deploy_ops.release.host.colours import Colour, note as note_active, place, serving
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.record import Record, cut_off, forget
from deploy_ops.release.host.shares import canary_colour, end_share
from deploy_ops.release.host.story import DRAIN
from deploy_ops.release.host.trail import note
from deploy_ops.release.host.watch import ASKED_BACK, Tell


def put_in_order(host: Host, tell: Tell) -> None:
    """Under the lock, before anything else.

    Before the switch nobody but the killed call knew the new release: its colour is stopped. After
    it users do: it goes on serving.
    """
    (host.state / ASKED_BACK).unlink(missing_ok=True)
    record = cut_off(host)
    if record is None:
        return
    colour, active = Colour(record.colour), serving(host)
    what = f"A {record.kind} of {record.tag} by {record.by} was cut off at {record.step!r}"
    if active is colour and record.step == DRAIN:
        units.stop(host, colour.other)
        tell(f"{what}, when everything else was done: {colour.other} was stopped.")
    elif active is colour:
        note_active(host, colour)
        end_share(host)
        tell(f"{what}, after it had got the requests: it serves, and nobody has watched it since.")
        _note(host, tell, record, "cut off after the switch")
    elif record.step != DRAIN:  # a canary that was begun runs on
        if canary_colour(host):
            end_share(host)
        units.stop(host, colour)
        place(host, colour, record.had)
        tell(
            f"{what}, before it got the requests: {colour} was stopped. What served before, serves."
        )
        _note(host, tell, record, "cut off before the switch")
    forget(host)


def _note(host: Host, tell: Tell, record: Record, message: str) -> None:
    version = record.tag.removeprefix("v")
    details = {"from": record.came_from, "colour": record.colour, "step": record.step}
    event = Event(
        Kind(record.kind), Outcome.FAILED, version, by=record.by, message=message, details=details
    )
    note(host, tell, event)
