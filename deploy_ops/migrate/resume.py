"""An earlier run that did not end: what happened to it, and how to go on from there.

Found by its journal. Facts then decide: is its session still working on the server, is its last
migration recorded, does the schema equal the one that migration started from?
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from deploy_ops.errors import HalfApplied, UnresolvedRun
from deploy_ops.migrate.fingerprint import Fingerprint, take_fingerprint
from deploy_ops.migrate.journal import Journal, Record
from deploy_ops.migrate.plan import Key
from deploy_ops.migrate.session import application_name
from deploy_ops.progress import Progress
from deploy_ops.redact import statement_text

ORPHANS = """
    SELECT pid, state, coalesce(extract(epoch FROM now() - xact_start)::int, 0), left(query, 200)
    FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()
"""
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Orphan:
    """A session of a killed run that the server still works for."""

    pid: int
    state: str
    seconds: int
    query: str

    def __str__(self) -> str:
        query = statement_text(self.query)
        return f"server process {self.pid} ({self.state}, {self.seconds} s): {query}"


class Decision(StrEnum):
    """What to do about an orphan."""

    WAIT = "wait"
    CANCEL = "cancel"


Ask = Callable[[Orphan], Decision]


def settle(
    record: Record,
    connection: BaseDatabaseWrapper,
    *,
    ask: Ask,
    wait: timedelta,
    progress: Progress,
) -> None:
    """Find out how an earlier run ended and resolve it; raises UnresolvedRun if a person must.

    After it the plan can be made anew: it goes on forwards from what is recorded.
    """
    progress.say(f"Run {record.run} did not end (last step: {record.last_step}).")
    _wait_for_orphans(record, connection, ask, wait, progress)
    record.check_readable()
    outcome = _what_happened(record, connection)
    journal = Journal.reopen(record)
    try:
        journal.record("resolved", outcome=outcome)
    finally:
        journal.close()
    backup = record.last("backed_up")
    kept = f" Its backup is {backup['backup']}." if backup else ""
    progress.say(f"Run {record.run} is resolved: {outcome}{kept}")


def _what_happened(record: Record, connection: BaseDatabaseWrapper) -> str:
    step = record.last("migration_started")
    if step is None:
        return "it ended before the first migration; the database was not changed."
    names = ", ".join(".".join(key) for key in step["migrations"])
    applied = set(MigrationRecorder(connection).applied_migrations())
    if all((tuple(key) in applied) != step["backwards"] for key in step["migrations"]):
        return f"{names} is recorded and done."
    if step["is_atomic"]:
        return f"{names} was in a transaction, which rolled back."
    difference = take_fingerprint(connection).difference(Fingerprint(frozenset(step["schema"])))
    if not difference:
        return f"{names} has left nothing behind."
    raise _half_applied(record, step["migrations"], difference)


def _half_applied(record: Record, keys: list[Key], difference: list[str]) -> HalfApplied:
    backup = record.last("backed_up")
    names = ", ".join(".".join(key) for key in keys)
    lines = [
        f"Run {record.run} ended in the middle of {names}, which runs without a transaction. "
        "A part of it is in the database, so neither going on nor going back is safe unseen.",
        "Nothing was changed now. It left:",
        *[f"    {line}" for line in difference[:20]],
        "Ways out, each followed by `python manage.py safe_migrate`:",
        "    undo these by hand",
        *[
            f"    python manage.py migrate {app} {name} --fake   # finished by hand"
            for app, name in keys
        ],
    ]
    if backup:
        lines.append(
            f"    python manage.py restore {backup['backup']}   # shows the loss, and asks"
        )
    return HalfApplied("\n".join(lines))


def _wait_for_orphans(
    record: Record, connection: BaseDatabaseWrapper, ask: Ask, wait: timedelta, progress: Progress
) -> None:
    deadline = time.monotonic() + wait.total_seconds()
    asked = False
    while orphans := _orphans(record, connection):
        if not asked:
            progress.say(f"Its session is still at work: {orphans[0]}")
            if ask(orphans[0]) == Decision.CANCEL:
                _cancel(connection, orphans)
            asked = True
        if time.monotonic() >= deadline:
            raise UnresolvedRun(_still_working(record, orphans[0]))
        time.sleep(POLL_SECONDS)


def _orphans(record: Record, connection: BaseDatabaseWrapper) -> list[Orphan]:
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(ORPHANS, [application_name(record.run)])
        return [Orphan(*row) for row in cursor.fetchall()]


def _cancel(connection: BaseDatabaseWrapper, orphans: list[Orphan]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid",
            [[o.pid for o in orphans]],
        )


def _still_working(record: Record, orphan: Orphan) -> str:
    return (
        f"Run {record.run} was killed, but the server still works for it: {orphan}\n"
        "A second run beside it could deadlock with it. Nothing was changed. Wait for it:\n"
        "    python manage.py safe_migrate --wait 600\n"
        f"or end it in psql, which rolls its transaction back:\n"
        f"    SELECT pg_terminate_backend({orphan.pid});"
    )
