"""What the generated migrations import: the points of a run, and what the script says for them.

A point is passed before and after each operation, forwards and back, between the batches of code,
and around each record of the journal. At a point others do their deeds (through sessions of their
own, in the order of the script) and failures strike. What happened is appended to a trace, line by
line, so that it is known after a kill.
"""

import json
import os
import signal
import sqlite3
import sys
from functools import wraps
from pathlib import Path
from typing import Any

import psycopg
from django.db import connections

from deploy_ops.migrate.journal import Journal
from tests.drills.random_plans.deeds import Deed, connect, do

BATCH = 2
# It ends by itself, since an index that is built concurrently waits for it without a limit.
LOCKED = {
    "postgresql": "SET idle_in_transaction_session_timeout = '5s';"
    " LOCK TABLE plan_trip IN ACCESS EXCLUSIVE MODE",
    "sqlite": "SELECT 1",
}


class Script:
    """The script of this run, and what of it was done already by an earlier process."""

    def __init__(self, path: Path) -> None:
        facts = json.loads(path.read_text())
        self.vendor, self.place, self.is_replay = facts["vendor"], facts["place"], facts["replay"]
        self.deeds = [Deed(**each) for each in facts["deeds"]]
        self.failures = facts["failures"]
        self._trace = path.with_suffix(".trace")
        lines = self._trace.read_text().splitlines() if self._trace.exists() else []
        self.done = {json.loads(line).get("once") for line in lines}
        self.locks: list[Any] = []
        self.open: dict[int, Any] = {}

    def note(self, **facts: Any) -> None:
        """Append to the trace."""
        descriptor = os.open(self._trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, (json.dumps(facts) + "\n").encode())
        os.close(descriptor)

    def pass_by(self, point: str, connection: Any = None) -> None:
        """Let happen what the script says for this point."""
        self.note(point=point)
        for deed in self.deeds:
            if deed.point == point and deed.number not in self.done:
                self.done.add(deed.number)
                self.note(once=deed.number)  # before: a kill in between must not repeat it
                self._do(deed)
        for number, failure in enumerate(self.failures):
            name = f"failure {number}"
            if failure["point"] == point and name not in self.done:
                if failure["once"]:
                    self.done.add(name)
                    self.note(once=name)
                self._fail(failure["kind"], connection)

    def _do(self, deed: Deed) -> None:
        if deed.kind == "open_insert" and not self.is_replay and self.vendor == "postgresql":
            self._begin(deed)
        else:
            self.note(deed=deed.number, ok=do(deed, self.vendor, self.place))

    def _begin(self, deed: Deed) -> None:
        """Leave the transaction open; the end of the migration commits it."""
        try:
            session = connect(self.vendor, self.place)
        except psycopg.Error:  # the door is closed for a swap
            self.note(deed=deed.number, ok=False)
            return
        try:
            session.autocommit = False
            session.execute(deed.statement(self.vendor))
            self.open[deed.number] = session
        except psycopg.Error:
            session.close()
            self.note(deed=deed.number, ok=False)

    def commit_open(self) -> None:
        """Commit what others left open."""
        for number, session in self.open.items():
            try:
                session.commit()
                self.note(deed=number, ok=True)
            except psycopg.Error:  # ended by a swap
                self.note(deed=number, ok=False)
            session.close()
        self.open.clear()

    def release(self) -> None:
        """End the transactions that hold a lock against the run."""
        for session in self.locks:
            session.close()
        self.locks.clear()

    def _fail(self, kind: str, connection: Any) -> None:
        connection = connection or connections["default"]
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif kind == "raise":
            raise ValueError("line 7 of the import")
        elif kind == "exit":
            sys.exit(3)
        elif kind == "lock":
            self._lock()
        else:
            with connection.cursor() as cursor:
                cursor.execute(STRIKES[kind])

    def _lock(self) -> None:
        session = connect(self.vendor, self.place)
        try:
            session.execute("BEGIN IMMEDIATE" if self.vendor == "sqlite" else "BEGIN")
            session.execute(LOCKED[self.vendor])
            self.locks.append(session)
            self.note(locked=True)
        except (psycopg.Error, sqlite3.Error):
            session.close()
            self.note(locked=False)


STRIKES = {
    "sql_error": "SELECT * FROM nowhere",
    "violation": "INSERT INTO plan_fixed (id, text) VALUES (1, 'twice')",
    "deferred": "INSERT INTO plan_receipt (id, text, trip_id) VALUES (900, 'x', 99999)",
    "terminate": "SELECT pg_terminate_backend(pg_backend_pid())",
}
SCRIPT = Script(Path(os.environ["RANDOM_SCRIPT"]))


def scripted(migration: type) -> type:
    """Let each operation of a migration pass its points."""
    number = int(migration.__module__.rpartition(".")[2][:4])
    for index, operation in enumerate(migration.operations):
        for method, word in (("database_forwards", ""), ("database_backwards", "back_")):
            wrapped = _passing(getattr(operation, method), f"m{number}.o{index}.{word}")
            setattr(operation, method, wrapped)
    return migration


def _passing(move: Any, prefix: str) -> Any:
    @wraps(move)
    def moved(label: str, editor: Any, *states: Any) -> None:
        SCRIPT.pass_by(f"{prefix}before", editor.connection)
        move(label, editor, *states)
        SCRIPT.pass_by(f"{prefix}after", editor.connection)

    return moved


def multiply(point: str, factor: int, in_blocks: bool = False) -> Any:
    """Code that multiplies every km, two rows at a time."""

    def forwards(_: Any, editor: Any) -> None:
        from django.db import transaction

        with editor.connection.cursor() as cursor:
            cursor.execute("SELECT id FROM plan_trip ORDER BY id")
            ids = [number for (number,) in cursor.fetchall()]
            for start in range(0, len(ids), BATCH):
                batch = ids[start : start + BATCH]
                low, high = batch[0], batch[-1]
                update = (
                    f"UPDATE plan_trip SET km = km * {factor} WHERE id BETWEEN {low} AND {high}"
                )
                if in_blocks:
                    with transaction.atomic(editor.connection.alias):
                        cursor.execute(update)
                else:
                    cursor.execute(update)
                SCRIPT.pass_by(f"{point}.batch{start // BATCH}", editor.connection)

    return forwards


def run_sql(*statements: str) -> Any:
    """Code that runs some statements."""

    def move(_: Any, editor: Any) -> None:
        with editor.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    return move


def lie(*_: Any) -> None:
    """A reverse that gives nothing back and does not say so."""


def _record_with_points(record: Any) -> Any:
    seen: dict[str, int] = {}

    @wraps(record)
    def recorded(journal: Journal, step: str, **facts: Any) -> None:
        seen[step] = seen.get(step, 0) + 1
        if step in ("migration_retried", "migration_failed", "migration_applied"):
            SCRIPT.release()
        SCRIPT.pass_by(f"journal.{step}.{seen[step]}.before")
        record(journal, step, **facts)
        SCRIPT.pass_by(f"journal.{step}.{seen[step]}.after")
        if step in ("migration_failed", "migration_applied", "recovered", "finished"):
            SCRIPT.commit_open()

    return recorded


if not SCRIPT.is_replay:
    Journal.record = _record_with_points(Journal.record)  # type: ignore[method-assign]
