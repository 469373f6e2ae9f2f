"""The hold: a restore lets new requests wait, until those in flight have ended and it has swapped.

Two files and the locks on them, which the kernel frees when a process dies. Whoever holds requests
has the lock on DEPLOY_OPS_HOLD_FILE. A process that answers requests shares one on the file beside
it, `<name>.requests`, for as long as any of its requests is in flight; to get it exclusively proves
that none is, in any process of this host. The time of that file tells a process, by one fstat for
each request, that there was a hold since (docs/decisions/0026-hold-requests-by-two-locks.md).
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from deploy_ops.errors import ConfigurationError, LockHeld
from deploy_ops.files import open_private
from deploy_ops.lock_file import LockFile

POLL_SECONDS = 0.005
# Processes that look whether there is a hold share its lock for a moment.
TAKING = timedelta(seconds=1)


class HoldFile:
    """The two files. Methods raise ConfigurationError where one of them cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests = path.with_name(f"{path.name}.requests")

    def is_held(self) -> bool:
        """Whether a process that lives holds requests now."""
        descriptor = self._open(self.path)
        try:
            return not _lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def open_requests(self) -> int:
        """Open the file whose lock requests in flight share; return its descriptor."""
        return self._open(self.requests)

    @contextmanager
    def held(self, purpose: str) -> Iterator[None]:
        """Hold new requests for the block; raises LockHeld, naming who holds them already."""
        os.close(self._open(self.path))
        lock, deadline = LockFile(self.path, purpose), time.monotonic() + TAKING.total_seconds()
        while holder := lock.try_acquire():
            if time.monotonic() > deadline:
                raise LockHeld(
                    f"Requests are held already, by {holder}. Nothing was changed. Run the command "
                    "again when that one has finished."
                )
            time.sleep(POLL_SECONDS)
        try:
            self._announce()
            yield
        finally:
            lock.release()

    def wait_for_requests(self, within: timedelta) -> bool:
        """Wait until no request of this host is in flight; whether that came in time."""
        descriptor, deadline = self.open_requests(), time.monotonic() + within.total_seconds()
        try:
            while not _lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    return False
                time.sleep(POLL_SECONDS)
            return True
        finally:
            os.close(descriptor)

    def _announce(self) -> None:
        descriptor = self.open_requests()
        now = time.time_ns()
        os.utime(descriptor, ns=(now, now))
        os.close(descriptor)

    def _open(self, path: Path) -> int:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return open_private(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be used: {error.strerror}. Without it no request is held while a "
                "restore swaps databases. Nothing was changed. DEPLOY_OPS_HOLD_FILE has to lie "
                "where the application and whoever restores can both write, as one user."
            ) from error


def share_while_in_flight(descriptor: int) -> bool:
    """Share the lock of requests in flight; False while a restore asks whether there are any."""
    return _lock(descriptor, fcntl.LOCK_SH)


def _lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return False
        raise
    return True
