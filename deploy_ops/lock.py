"""The deploy lock: one deployment step at a time, as a value that those who need it ask for.

Two locks in one. A file lock in DEPLOY_OPS_DIR covers this host and SQLite. On PostgreSQL an
advisory lock covers every host; it lives on an idle autocommit connection of its own to the
maintenance database, because advisory locks are per database and end with the database that a
restore swaps away. It is polled, never waited for: a session that waits inside
pg_advisory_lock() holds a snapshot, and CREATE INDEX CONCURRENTLY of the holder would
deadlock with it (docs/decisions/0004).
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from django.db import connections
from django.utils.module_loading import import_string

from deploy_ops.conf import conf
from deploy_ops.errors import LockHeld
from deploy_ops.files import private_directory
from deploy_ops.lock_file import LockFile

POLL_SECONDS = 0.2
LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})


class Guard(Protocol):
    """One of the locks that make up the deploy lock."""

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or say who holds it."""

    def check(self) -> None:
        """Raise LockLost if the lock is gone."""

    def release(self) -> None:
        """Give the lock back; safe to call twice."""


@dataclass(frozen=True, slots=True)
class DeployLock:
    """Proof that this process holds the deploy lock of an alias."""

    alias: str
    shared: bool
    guards: tuple[Guard, ...]

    def check(self) -> None:
        """Raise LockLost if another process could have got in."""
        for guard in self.guards:
            guard.check()


@contextmanager
def deploy_lock(
    alias: str,
    *,
    purpose: str,
    shared: bool = False,
    wait: timedelta = timedelta(0),
    notify: Callable[[str], None] = lambda holder: None,
) -> Iterator[DeployLock]:
    """Hold the deploy lock of an alias; raises LockHeld, naming the holder, after `wait`.

    Several may hold it `shared` (backups); one alone holds it otherwise. `notify` hears once who
    is waited for.
    """
    with ExitStack() as stack:
        guards = []
        deadline = time.monotonic() + wait.total_seconds()
        for guard in _guards(alias, purpose, shared):
            stack.callback(guard.release)
            _acquire(guard, deadline, notify)
            guards.append(guard)
        yield DeployLock(alias, shared, tuple(guards))


def _guards(alias: str, purpose: str, shared: bool) -> list[Guard]:
    guards: list[Guard] = [LockFile(_lock_file(alias), purpose, shared)]
    if connections[alias].vendor == "postgresql":
        # Imported here: psycopg need not be installed where SQLite alone is used.
        advisory = import_string("deploy_ops.databases.postgresql.advisory_lock.AdvisoryGuard")
        guards.append(advisory(alias, purpose, shared))
    return guards


def _acquire(guard: Guard, deadline: float, notify: Callable[[str], None]) -> None:
    told = False
    while holder := guard.try_acquire():
        if time.monotonic() >= deadline:
            raise LockHeld(
                f"The deploy lock is held by {holder}. Two steps at once could undo each other. "
                "Nothing was changed. Run the command again when it has ended."
            )
        if not told:
            notify(holder)
            told = True
        time.sleep(POLL_SECONDS)


def _lock_file(alias: str) -> Path:
    name = hashlib.sha256("\0".join(_place(alias)).encode()).hexdigest()[:16]
    return private_directory(private_directory(conf.dir) / "locks") / f"{name}.lock"


def _place(alias: str) -> tuple[str, ...]:
    """Name the database of an alias so that its other aliases, and links to a file, name the same.

    Told without connecting, since a killed restore may have left it closed. So two host names of
    one PostgreSQL server are two places; the advisory lock, which the server keeps, covers these.
    """
    connection = connections[alias]
    if connection.vendor != "postgresql":
        name = str(connection.settings_dict["NAME"])
        path = unquote(urlsplit(name).path) if name.startswith("file:") else name
        return (connection.vendor, os.path.realpath(path))
    server = import_string("deploy_ops.databases.postgresql.server.server_of")(alias)
    host = "" if server.host in LOOPBACK or server.host.startswith("/") else server.host
    return (connection.vendor, host, server.port, server.dbname)
