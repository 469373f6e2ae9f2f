"""The snapshot of this process: read from the database when the version row says so, else kept.

Settings and modules of urls import this before models can be loaded, so what reads the rows
(`stored`) is imported when they are read.
"""

import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import setting_changed
from django.db import Error, connections, transaction
from django.dispatch import receiver

from deploy_ops.conf import PREFIX, conf
from deploy_ops.errors import InvalidRules
from deploy_ops.flags.declaration import declared_flags, forced_flags
from deploy_ops.flags.state import Snapshot, take_snapshot

_log = logging.getLogger("deploy_ops.flags")


class Store:
    """Keeps one snapshot and polls the version row every DEPLOY_OPS_FLAGS_POLL_SECONDS at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._read_in: tuple[transaction.Atomic, ...] = ()
        self._next_poll = 0.0
        self._is_down = False

    def is_due(self) -> bool:
        """Will the next `current()` ask the database?"""
        return self._snapshot is None or time.monotonic() >= self._next_poll

    def current(self) -> Snapshot:
        """The newest snapshot to be had. Of many threads one asks, the others go on meanwhile."""
        snapshot = self._snapshot
        if snapshot is not None and time.monotonic() < self._next_poll:
            return snapshot
        # Only the first snapshot of a process is waited for; another thread's transaction has none.
        must_wait = snapshot is None or bool(self._read_in)
        # pylint: disable-next=consider-using-with  # which would always wait
        if not self._lock.acquire(blocking=must_wait):
            return snapshot or self.current()
        try:
            return self._poll(snapshot)
        finally:
            self._lock.release()

    def expire(self) -> None:
        """Ask again at the next look, such as after a change by this process."""
        self._next_poll = 0.0

    def forget(self) -> None:
        """Begin anew, as if the process had just started."""
        with self._lock:
            self._snapshot, self._read_in = None, ()
            self._next_poll, self._is_down = 0.0, False

    def _poll(self, seen: Snapshot | None) -> Snapshot:
        from deploy_ops.flags.stored import flags_alias

        alias = flags_alias()
        blocks = tuple(connections[alias].atomic_blocks)
        # What was read inside a transaction holds while that goes on: it may be rolled back.
        known = self._snapshot if blocks[: len(self._read_in)] == self._read_in else None
        if known is not None and (known is not seen or time.monotonic() < self._next_poll):
            return known  # another thread was faster
        # Inside a transaction what is seen may be old, and an error would end the transaction.
        if known is not None and blocks:
            return known
        self._next_poll = time.monotonic() + conf.flags_poll_seconds
        try:
            self._snapshot = self._read(alias, known)
        except SynchronousOnlyOperation:
            # Coroutines may not wait for the database; the middleware and aflag_enabled ask for
            # them. Without any snapshot there is nothing to go on with.
            self.expire()
            if self._snapshot is None:
                raise
            return self._snapshot
        self._read_in = blocks
        if blocks:
            self.expire()
        return self._snapshot

    def _read(self, alias: str, known: Snapshot | None) -> Snapshot:
        from deploy_ops.flags.stored import read_rules, read_version

        try:
            with _guarded(alias):
                version = read_version(alias)
                if known is not None and known.version == version:
                    return self._recovered(known)
                rules = read_rules(alias)
        except (Error, InvalidRules) as error:
            if not connections[alias].in_atomic_block:  # which would end with it
                connections[alias].close_if_unusable_or_obsolete()
            return self._unavailable(known, error)
        return self._recovered(take_snapshot(declared_flags(), forced_flags(), rules, version))

    def _recovered(self, snapshot: Snapshot) -> Snapshot:
        if self._is_down:
            _log.info("Flags are read from the database again.")
        self._is_down = False
        return snapshot

    def _unavailable(self, known: Snapshot | None, error: Exception) -> Snapshot:
        if not self._is_down:
            source = "the last known state" if known else "the environment and the declarations"
            _log.error("Flags cannot be read from the database (%s). In use: %s.", error, source)
        self._is_down = True
        # Counted from now, since connecting in vain may have taken longer than the interval.
        self._next_poll = time.monotonic() + conf.flags_poll_seconds
        return known or take_snapshot(declared_flags(), forced_flags(), {})


def _guarded(alias: str) -> AbstractContextManager[None]:
    """Inside a transaction a savepoint, so that an error leaves it usable; else nothing."""
    if connections[alias].in_atomic_block:
        return transaction.atomic(using=alias)
    return nullcontext()


store = Store()


@receiver(setting_changed, dispatch_uid="deploy_ops.flags")
def _forget_old_settings(*, setting: str, **_kwargs: Any) -> None:
    """Tests change settings; a process that serves does not."""
    if setting.startswith(f"{PREFIX}FLAGS"):
        store.forget()
