"""A release on its way, as the files and rows of it look: what the tests of the page look at."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy_ops.audit import Event, Kind, Outcome, record_event
from deploy_ops.backup.authenticity import host_keys
from deploy_ops.backup.manifest import Level, SavedFile, Verified, dump_manifest
from deploy_ops.databases.values import ClientSession
from deploy_ops.ids import new_id
from deploy_ops.migrate.journal import Record
from deploy_ops.models import BackfillProgress
from deploy_ops.phases import instances
from deploy_ops.phases.rows import Row
from deploy_ops.phases.where import Place
from deploy_ops.release.page import backfills, changes, versions
from deploy_ops.release.page.host import Host
from deploy_ops.release.page.reading import DEADLINE
from tests.deploy_ops.backup.manifests import some_manifest

RUN = "20260131T020000Z-00000001"
NOW = datetime.now(UTC)
OLD, NEW = "1.4.2", "1.5.0"


def before(**ago) -> datetime:
    return NOW - timedelta(**ago)


def seen(release: str, **ago) -> versions.Seen:
    return versions.Seen(release, "web1", "gunicorn", before(**ago))


def session(release: str, pid: int) -> ClientSession:
    return ClientSession(pid, f"gunicorn release={release}", "127.0.0.1", before(hours=1))


def event(kind: Kind, outcome: Outcome, version: str, at: datetime, **fields) -> Event:
    return Event(kind, outcome, version, by="anna", at=at.isoformat(timespec="seconds"), **fields)


def deployed(version: str, colour: str, at: datetime, seconds: float, **details) -> list[Event]:
    given = {"colour": colour, **details}
    return [
        event(Kind.DEPLOYMENT, Outcome.STARTED, version, at, details=given),
        event(Kind.DEPLOYMENT, Outcome.DONE, version, at, seconds=seconds, details=given),
    ]


EVENTS = [
    *deployed("1.4.1", "green", before(days=9), 71.2),
    *deployed(OLD, "blue", before(days=4), 68.4, **{"from": "v1.4.1"}),
    event(Kind.DEPLOYMENT, Outcome.STARTED, "1.4.3", before(days=2)),
    event(
        Kind.DEPLOYMENT,
        Outcome.FAILED,
        "1.4.3",
        before(days=2),
        seconds=31.0,
        message="green (v1.4.3) was not ready within 30 s. v1.4.2 serves.",
        details={"from": "v1.4.2"},
    ),
    event(
        Kind.CANARY,
        Outcome.STARTED,
        NEW,
        before(minutes=4),
        details={"colour": "green", "from": "v1.4.2"},
    ),
]


def version_facts(**changes) -> versions.Facts:
    """Blue serves the old release, and green is its canary."""
    fields = {
        "running": OLD,
        "seen": [seen(OLD, seconds=20), seen(NEW, seconds=40), seen("1.4.1", minutes=50)],
        "sessions": [session(OLD, 1), session(OLD, 2), session(NEW, 3)],
        "host": Host("blue", "green", 5, {OLD: "blue", NEW: "green"}),
        "now": NOW,
    }
    return versions.Facts(**fields | changes)


def row(**changes) -> Row:
    fields = {
        "place": Place("reisekosten", "0007_drop_purpose", "0"),
        "table": "reisekosten_fahrt",
        "operation": "",
        "description": "Remove field purpose from fahrt",
        "release": NEW,
        "created_at": before(minutes=3),
        "skipped_because": "",
        "attempts": 0,
        "last_error": "",
        "done_at": None,
        "waits_for": "",
    }
    return Row(**fields | changes)


def change_facts(**changes_) -> changes.Facts:
    """Both releases at work, and one operation that waits for the end of the older one."""
    at_work = instances.Facts(
        processes=[instances.Process(OLD, "gunicorn on web1"), instances.Process(NEW, "the same")],
        waiting={NEW},
        running=NEW,
        history=[OLD, NEW],
        heartbeats_since=before(days=30),
        restored_at=None,
        now=NOW,
        within=timedelta(hours=2),
    )
    fields = {
        "is_two_phase": True,
        "is_all_seen": True,
        "pending": [],
        "rows": [row()],
        "processes": at_work,
        "findings": list(instances.findings_of(at_work, "default")),
    }
    return changes.Facts(**fields | changes_)


def backfill(**changes) -> BackfillProgress:
    fields = {
        "name": "reisekosten.0006_fill_erstattung#0",
        "rows_total": 3_000_000,
        "rows_read": 1_260_000,
        "rows_written": 1_250_000,
        "release": NEW,
        "created_at": before(minutes=4),
        "started_at": before(minutes=3),
        "updated_at": before(seconds=2),
    }
    return BackfillProgress(**fields | changes)


def write_run(state: Path, steps: list[dict], at: datetime, run: str = "") -> str:
    """The journal of a run, whose steps come a second after each other."""
    run = run or f"{at:%Y%m%dT%H%M%SZ}-{len(list(state.glob('runs/*'))):08x}"
    (state / "runs").mkdir(exist_ok=True, mode=0o700)
    times = ((at + timedelta(seconds=number)).isoformat() for number in range(len(steps)))
    lines = [json.dumps(step | {"at": moment}) for step, moment in zip(steps, times, strict=True)]
    (state / "runs" / f"{run}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return run


def record(state: Path, *steps: dict) -> Record:
    """The journal of RUN with these steps."""
    write_run(state, list(steps), before(minutes=2), RUN)
    return Record(state / "runs" / f"{RUN}.jsonl")


def started(**facts) -> dict:
    plan = [["reisekosten", f"000{number}_step", False] for number in range(5, 9)]
    known = {"database": "kvb on 127.0.0.1", "key": "x", "alias": "default", "host": "web1"}
    return {"step": "started", "process": 4711, "plan": plan} | known | facts


def migrated(number: int, step: str = "migration_applied") -> dict:
    return {"step": step, "migrations": [["reisekosten", f"000{number}_step"]], "seconds": 1.5}


HALF_WAY = [
    started(),
    {"step": "backup_started"},
    {"step": "backed_up", "backup": "20260131T020000Z-0a1b2c3d"},
    migrated(5),
    migrated(6),
    migrated(7, "migration_started"),
]


def write_backups(state: Path, number: int = 14) -> None:
    """One a night, growing; the first one here is the oldest."""
    backups = state / "backups"
    backups.mkdir(mode=0o700, exist_ok=True)
    for index in range(number):
        at = before(days=number - 1 - index, hours=3)
        manifest = some_manifest(
            id=new_id(at),
            sequence=index + 1,
            started_at=at,
            finished_at=at + timedelta(seconds=14 + index % 5 * 3 + index),
            files={"database/x": SavedFile(180_000_000 + index * 9_000_000, "0" * 64)},
            verified=Verified(Level.RESTORE if index % 7 == 6 else Level.READ, at),
        )
        (backups / manifest.id).mkdir(mode=0o700)
        content = dump_manifest(host_keys().prove(manifest))
        (backups / manifest.id / "manifest.json").write_bytes(content)


def write_state(state: Path) -> None:
    """All files of the state directory: a run that ended, one at work, backups, the audit."""
    ended = [started(), migrated(5), {"step": "finished", "status": "ok"}]
    write_run(state, ended, before(days=4))
    write_run(state, HALF_WAY, before(minutes=2))
    for each in EVENTS:
        record_event(state, each)
    write_backups(state)


@contextmanager
def patience(sections, deadline: timedelta = timedelta(seconds=20)):
    """Read all anew, and let none be late because the machine is busy."""
    for section in sections:
        section.probe.forget()
        section.probe._deadline = deadline
    yield
    for section in sections:
        section.probe._deadline = DEADLINE


@contextmanager
def reading(section, read):
    """Let a section of the page be read by another function for the block."""
    original = section._read
    section._read = read
    section.probe.forget()
    try:
        yield
    finally:
        section._read = original
        section.probe.forget()


PRETENDED = {
    "versions": lambda: versions.versions(version_facts()),
    "changes": lambda: changes.changes(change_facts()),
    "backfills": lambda: backfills.backfills([backfill()], datetime.now(UTC)),
}
