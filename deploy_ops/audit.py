"""Who did what to the application: one line of JSON for each event, only added to.

Like the history of releases it lies outside the database, which a restore rewinds:
`DEPLOY_OPS_STATE_DIR/audit.jsonl`.
"""

import getpass
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from deploy_ops.files import add_line, read_lines
from deploy_ops.times import moment

AUDIT = "audit.jsonl"
# How the accounts of smoke tests begin.
SMOKE_ACCOUNT = "deploy-ops-smoke-"


class Kind(StrEnum):
    """What was done. The last four are told and not kept here: journal and catalog have them."""

    DEPLOYMENT = "deployment"
    ROLLBACK = "rollback"
    CANARY = "canary"
    CONTRACT = "contract"
    RESTORE = "restore"
    FLAG = "flag"
    CHECK = "check"
    MIGRATION = "migration"
    BACKUP = "backup"
    VERIFICATION = "verification"
    BACKFILL = "backfill"


class Outcome(StrEnum):
    """How it ended; STARTED where it has not yet, or was killed.

    REFUSED has changed nothing; RECOVERED failed, and the state before it is back; STALE is said of
    backups when none is young enough.
    """

    STARTED = "started"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    RECOVERED = "recovered"
    STALE = "stale"

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody should look at it, though nobody may have been there."""
        return self in (Outcome.FAILED, Outcome.RECOVERED, Outcome.STALE)


def operator() -> str:
    """Who runs this: DEPLOY_BY (set by a pipeline), the user behind sudo, or the user."""
    if given := os.environ.get("DEPLOY_BY", "").strip() or os.environ.get("SUDO_USER"):
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


@dataclass(frozen=True, slots=True)
class Event:
    """One of them; `at` is UTC in ISO 8601, `details` has what only its kind has."""

    kind: Kind
    outcome: Outcome
    version: str
    by: str = field(default_factory=operator)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    seconds: float | None = None
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_of_smoke_test(self) -> bool:
        """Whether a smoke test switched a flag for its own account, which concerns nobody.

        A person's change is none, whatever the person's name is: it has another source.
        """
        details = self.details if isinstance(self.details, dict) else {}
        is_by_code = self.kind is Kind.FLAG and details.get("source") == "code"
        return is_by_code and str(self.by).startswith(SMOKE_ACCOUNT)


def record_event(directory: Path, event: Event) -> None:
    """Append the event to the audit of a state directory; durable when this returns."""
    add_line(directory / AUDIT, asdict(event))


def read_events(directory: Path) -> Sequence[Event]:
    """Every event that can be read, oldest first."""
    try:
        entries = read_lines(directory / AUDIT).entries
    except FileNotFoundError:
        return []
    return [event for entry in entries if (event := _event(entry)) is not None]


@dataclass(frozen=True, slots=True)
class Restore:
    """One that has, or may have, put a backup (its id) in the place of a database."""

    at: datetime
    backup: str


def restores_of(directory: Path, database: str) -> Sequence[Restore]:
    """The restores of the database of this name that the audit has, oldest first.

    One that failed may have taken place, and so may one that never ended; a line without a time is
    none.
    """
    found = [each for each in read_events(directory) if _restores(each, database)]
    last_is_open = bool(found) and found[-1].outcome is Outcome.STARTED
    ended = [each for each in found if each.outcome not in (Outcome.STARTED, Outcome.REFUSED)]
    return [
        Restore(at, str(each.details.get("backup")))
        for each in (*ended, *(found[-1:] if last_is_open else ()))
        if (at := moment(each.at)) is not None
    ]


def _restores(event: Event, database: str) -> bool:
    """Whether a backup took the place of all of it; single tables leave its past what it was."""
    details = event.details if isinstance(event.details, dict) else {}
    is_whole = event.kind is Kind.RESTORE and "tables" not in details
    return is_whole and database in (details.get("database"), details.get("into"))


def _event(entry: dict[str, Any]) -> Event | None:
    try:
        kind, outcome = Kind(entry.pop("kind")), Outcome(entry.pop("outcome"))
        return Event(kind, outcome, **entry)
    except (KeyError, TypeError, ValueError):  # of a newer deploy_ops, or damaged
        return None
