"""What was done: deployments and what belongs to them, and runs of safe_migrate."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from deploy_ops.audit import Event, Outcome, read_events
from deploy_ops.conf import conf
from deploy_ops.history import release_of_runs
from deploy_ops.migrate.journal import Record, read_runs
from deploy_ops.migrate.recorded import is_contract
from deploy_ops.redact import redact
from deploy_ops.times import moment

MIGRATION = "migration"
LONGEST_MESSAGE = 300
OUTCOMES = {"ok": "done", "nothing_to_do": "done", "recovered": "recovered"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what was done to which version by whom, how it ended, and how long it took.

    `outcome` is an Outcome, or of a run also `recovered` and `resolved`; `steps` its migrations.
    `subject` is the flag that was changed, or the backup that was restored.
    """

    at: datetime
    kind: str
    version: str
    by: str
    outcome: str
    seconds: float | None
    message: str = ""
    before: str = ""
    steps: int = 0
    subject: str = ""


def read_timeline(most: int, *, without: Container[str] = ()) -> list[Entry]:
    """The newest of what the audit and the journals have, without smoke tests; newest first."""
    events = [
        each
        for each in read_events(conf.state_dir)
        if each.kind not in without and not each.is_of_smoke_test
    ]
    return timeline(events, read_runs()[-most:], release_of_runs())[:most]


def timeline(
    events: Iterable[Event], runs: Iterable[Record], versions: Mapping[str, str]
) -> list[Entry]:
    """Put together beginning and end of each, and all in one order."""
    migrations = (_of_run(record, versions) for record in runs)
    entries = [*_of_events(events), *(each for each in migrations if each)]
    # Older events have whole seconds: of two in one the one that was noted later comes first.
    return sorted(entries, key=lambda each: each.at)[::-1]


def _of_events(events: Iterable[Event]) -> Sequence[Entry]:
    """An end belongs to the last beginning of the same kind and version that has none yet."""
    found: list[Entry] = []
    begun: dict[tuple[str, str], int] = {}
    for event in events:
        if (entry := _of_event(event)) is None:
            continue
        key = entry.kind, entry.version
        if event.outcome is Outcome.STARTED:
            begun[key] = len(found)
            found.append(entry)
        elif key in begun:
            index = begun.pop(key)
            found[index] = _ended(found[index], entry)
        else:
            found.append(entry)
    return found


def _ended(begun: Entry, end: Entry) -> Entry:
    took = (end.at - begun.at).total_seconds() if end.seconds is None else end.seconds
    return replace(end, at=begun.at, seconds=max(0.0, took), before=end.before or begun.before)


def _of_event(event: Event) -> Entry | None:
    at, details = moment(event.at), event.details if isinstance(event.details, dict) else {}
    if at is None:
        return None
    before = details.get("from")
    return Entry(
        at=at,
        kind=str(event.kind),
        version=str(event.version),
        by=str(event.by),
        outcome=str(event.outcome),
        seconds=event.seconds if isinstance(event.seconds, int | float) else None,
        message=redact(str(event.message))[:LONGEST_MESSAGE],
        before=before.removeprefix("v") if isinstance(before, str) else "",
        subject=_subject(details),
    )


def _subject(details: Mapping[str, object]) -> str:
    name = str(details.get("flag") or details.get("backup") or "")
    if isinstance(tables := details.get("tables"), list):
        return f"{', '.join(map(str, tables)) or 'tables'} of {name}"
    return f"{name} into {details['into']}" if details.get("into") else name


def _of_run(record: Record, versions: Mapping[str, str]) -> Entry | None:
    began, plan = moment(record.start.get("at")), record.start.get("plan")
    if began is None or _is_contract(plan):  # which the audit has, with who
        return None
    last = next((s for s in reversed(record.steps) if s["step"] in ("finished", "resolved")), None)
    ended = moment(last.get("at")) if last else None
    return Entry(
        at=began,
        kind=MIGRATION,
        version=versions.get(record.run, ""),
        by="",
        outcome=_outcome(last),
        seconds=(ended - began).total_seconds() if ended else None,
        steps=len(plan) if isinstance(plan, list) else 0,
    )


def _outcome(last: Mapping[str, object] | None) -> str:
    if last is None:
        return "started"
    if last["step"] == "resolved":
        return "resolved"
    return OUTCOMES.get(str(last.get("status")), "failed")


def _is_contract(plan: object) -> bool:
    steps = plan if isinstance(plan, list) else []
    return any(
        isinstance(each, list) and is_contract((str(each[0]), str(each[1]))) for each in steps
    )
