"""The deploy lock: one deployment step at a time, as a value that those who need it ask for.

Two locks in one. A file lock in DEPLOY_OPS_DIR covers this host and SQLite. On PostgreSQL an
advisory lock covers every host; it lives on an idle autocommit connection of its own to the
maintenance database, because advisory locks are per database and end with the database that a
restore swaps away. It is polled, never waited for: a session that waits inside
pg_advisory_lock() holds a snapshot, and CREATE INDEX CONCURRENTLY of the holder would
deadlock with it (docs/decisions/0004).
"""

import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db import connections

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Guard
from deploy_ops.errors import LockHeld
from deploy_ops.files import open_private, private_directory

POLL_SECONDS = 0.2


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
    of_host = FileGuard(_lock_file(alias), purpose, shared)
    of_server = database_for(alias).guard(purpose, shared)
    return [of_host, of_server] if of_server else [of_host]


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
    settings = connections[alias].settings_dict
    place = "\0".join(str(settings[key]) for key in ("ENGINE", "HOST", "PORT", "NAME"))
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    return private_directory(private_directory(conf.dir) / "locks") / f"{name}.lock"


class FileGuard:
    """flock(2) on a file that tells who holds it; the kernel frees it when the holder dies."""

    def __init__(self, path: Path, purpose: str, shared: bool) -> None:
        self._path = path
        self._purpose = purpose
        self._shared = shared
        self._descriptor: int | None = None

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or say who holds it."""
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(
                descriptor, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
            )
        except BlockingIOError:
            holder = _describe(os.pread(descriptor, 1000, 0))
            os.close(descriptor)
            return holder
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, _myself(self._purpose), 0)
        self._descriptor = descriptor
        return None

    def check(self) -> None:
        """A flock lasts as long as its descriptor, so there is nothing to lose."""

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _myself(purpose: str) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"purpose": purpose, "pid": os.getpid(), "host": socket.gethostname(), "since": now}
    return json.dumps(facts).encode()


def _describe(content: bytes) -> str:
    try:
        facts = json.loads(content)
        return (
            f"{facts['purpose']} (process {facts['pid']} on {facts['host']}) since {facts['since']}"
        )
    except (ValueError, KeyError, TypeError):
        return "a process that has not said yet who it is"
