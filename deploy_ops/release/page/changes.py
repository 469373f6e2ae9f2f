"""Changes of the schema: what is not applied yet, and what waits until old code is gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS, connections

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.health.readiness import pending_migrations
from deploy_ops.migrate.other_migrate import what_is_other
from deploy_ops.phases import instances
from deploy_ops.phases.rows import Row, waiting_rows
from deploy_ops.redact import redact
from deploy_ops.release.page.tone import Tone
from deploy_ops.times import aware

MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Facts:
    """Migrations, whether there may be others, rows, and who is at work where rows wait (None
    where none do)."""

    is_two_phase: bool
    is_all_seen: bool
    pending: Sequence[str]
    rows: Sequence[Row]
    processes: instances.Facts | None
    findings: Sequence[CheckMessage]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One operation whose second half is to come; `state` is waiting, failed or skipped."""

    place: str
    description: str
    release: str
    since: datetime
    state: str
    reason: str
    backfill: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Pending migrations (at most MOST_NAMED by name), waiting rows, and whom they wait for.

    Not `is_all_seen`: the project may migrate more than was looked at.
    """

    is_two_phase: bool
    is_all_seen: bool
    pending: int
    named: tuple[str, ...]
    waiting: tuple[Waiting, ...]
    older: tuple[str, ...]
    nameless: int
    is_known: bool

    @property
    def due(self) -> int:
        """How many rows the contract phase would run."""
        return sum(each.state != "skipped" for each in self.waiting)

    @property
    def may_run(self) -> bool:
        """Whether nobody of an older release is at work any more."""
        return self.is_known and not self.older and not self.nameless

    @property
    def tone(self) -> Tone:
        """What failed is for a person; what waits goes on by the next deployment."""
        if any(each.state == "failed" for each in self.waiting):
            return Tone.BAD
        if self.pending or not self.is_all_seen:
            return Tone.WARN
        return Tone.BUSY if self.due else Tone.OK


def read() -> Changes:
    """Ask the database; who is at work only where something waits for them to go."""
    alias = DEFAULT_DB_ALIAS
    rows = waiting_rows(connections[alias])
    processes = instances.look(database_for(alias)) if rows else None
    return changes(
        Facts(
            is_two_phase=conf.two_phase,
            is_all_seen=not what_is_other(alias),
            pending=pending_migrations(alias),
            rows=rows,
            processes=processes,
            findings=list(instances.findings_of(processes, alias)) if processes else [],
        )
    )


def changes(facts: Facts) -> Changes:
    """Say which releases the rows wait for, each once."""
    processes = facts.processes.processes if facts.processes else ()
    return Changes(
        is_two_phase=facts.is_two_phase,
        is_all_seen=facts.is_all_seen,
        pending=len(facts.pending),
        named=tuple(facts.pending[:MOST_NAMED]),
        waiting=tuple(map(_waiting, facts.rows)),
        older=tuple(sorted(_older(facts.processes))) if facts.processes else (),
        nameless=sum(each.release is None for each in processes),
        is_known=all(finding.id != "deploy_ops.T003" for finding in facts.findings),
    )


def _older(at_work: instances.Facts) -> set[str]:
    releases = {each.release for each in at_work.processes if each.release}
    return {
        release
        for release in releases
        if not instances.is_known_since(release, at_work.waiting, at_work)
    }


def _waiting(row: Row) -> Waiting:
    state = "skipped" if row.skipped_because else "failed" if row.last_error else "waiting"
    return Waiting(
        place=str(row.place),
        description=row.description,
        release=row.release,
        since=aware(row.created_at),
        state=state,
        reason=redact(row.skipped_because or row.last_error),
        backfill=row.waits_for,
    )
