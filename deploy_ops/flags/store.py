"""The snapshot of this process: read from the database when the version row says so, else kept."""

import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import setting_changed
from django.db import Error, connections, router, transaction
from django.dispatch import receiver

from deploy_ops.conf import PREFIX, conf
from deploy_ops.errors import InvalidRules
from deploy_ops.flags.declaration import declared_flags, forced_flags
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.state import Snapshot, take_snapshot
from deploy_ops.models import FlagState, FlagVersion

Version = tuple[int, datetime | None]
NEVER_CHANGED: Version = (0, None)

_log = logging.getLogger("deploy_ops.flags")


def flags_alias() -> str:
    """The alias of the database that has the flags; of replicas the one that is written to."""
    return router.db_for_write(FlagVersion)


def read_version(alias: str) -> Version:
    """The version of all rows together; (0, None) before the first change."""
    rows = FlagVersion.objects.using(alias).values_list("version", "changed_at")
    return next(iter(rows), NEVER_CHANGED)


def read_rows(alias: str) -> dict[str, FlagState]:
    """Every row, declared or not, in one statement and so of one moment."""
    return {state.name: state for state in FlagState.objects.using(alias)}


def read_rules(alias: str) -> dict[str, Rules]:
    """The rules of every row."""
    return {name: rules_of(row) for name, row in read_rows(alias).items()}


def rules_of(state: FlagState) -> Rules:
    """The rules of a row."""
    return Rules.of(vars(state))


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
