"""The deploy lock: one deployment step at a time, as a value that those who need it ask for.

Two locks in one. A file lock in DEPLOY_OPS_STATE_DIR covers this host and SQLite. On PostgreSQL an
advisory lock covers every host; it lives on an idle autocommit connection of its own to the
maintenance database, because advisory locks are per database and end with the database that a
restore swaps away. It is polled, never waited for: a session that waits inside
pg_advisory_lock() holds a snapshot, and CREATE INDEX CONCURRENTLY of the holder would
deadlock with it (docs/decisions/0004).
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Guard
from deploy_ops.errors import LockHeld
from deploy_ops.lock_file import Holder, LockFile, watch_holder
from deploy_ops.places import state_directory

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
        guards = _guards(alias, purpose, shared)
        deadline = time.monotonic() + wait.total_seconds()
        for guard in guards:
            stack.callback(guard.release)
        for guard in guards:
            _acquire(guard, deadline, notify)
        yield DeployLock(alias, shared, tuple(guards))


def lock_holders(alias: str) -> list[Holder]:
    """Who holds the deploy lock of an alias, told without touching it: nobody is refused by it."""
    holders = database_for(alias).deploy_lock_holders()
    if holders is not None:
        return holders
    holder = watch_holder(_lock_path(alias))
    return [holder] if holder else []


def _guards(alias: str, purpose: str, shared: bool) -> list[Guard]:
    of_host = LockFile(_lock_file(alias), purpose, shared)
    of_server = database_for(alias).guard(purpose, shared)
    return [of_host, of_server] if of_server else [of_host]


def _acquire(guard: Guard, deadline: float, notify: Callable[[str], None]) -> None:
    has_notified = False
    while holder := guard.try_acquire():
        if time.monotonic() >= deadline:
            raise LockHeld(
                f"The deploy lock is held by {holder}. Only one deployment may run at a time. "
                "Nothing was changed. Run the command again when that one has finished."
            )
        if not has_notified:
            notify(holder)
            has_notified = True
        time.sleep(POLL_SECONDS)


def _lock_file(alias: str) -> Path:
    state_directory("locks")
    return _lock_path(alias)


def _lock_path(alias: str) -> Path:
    name = hashlib.sha256("\0".join(database_for(alias).local_place()).encode()).hexdigest()[:16]
    return conf.state_dir / "locks" / f"{name}.lock"
