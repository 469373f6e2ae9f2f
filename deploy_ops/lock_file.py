"""Locks that end with their process: flock(2) on a file that tells who holds it.

The kernel frees it when the process dies or the machine restarts, so neither a process number that
is used again nor a file that was left can mislead. The same tells which directories belong to a
process that still lives: one that holds the lock on the file `owner` in it.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy_ops.errors import ConfigurationError
from deploy_ops.files import (
    is_no_file,
    open_private,
    private_directory,
    read_object,
    read_private,
    set_aside,
)

OWNER = "owner"
# proc_locks(5): `1: FLOCK  ADVISORY  WRITE 4711 fe:01:131075 0 EOF`
LOCKS = Path("/proc/locks")
_FLOCK = re.compile(r"^\d+: FLOCK +\S+ +\S+ +(\d+) +([0-9a-f]+:[0-9a-f]+):(\d+) ", re.M)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock; `pid` is 0 and the other fields empty where that is not known."""

    purpose: str
    pid: int
    host: str
    since: datetime | None


class LockFile:
    """The lock on one file; several may hold it `shared`, one alone holds it otherwise.

    Every method raises ConfigurationError where the file cannot be used.
    """

    def __init__(self, path: Path, purpose: str, shared: bool = False) -> None:
        self._path = path
        self._purpose = purpose
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._descriptor: int | None = None

    def try_acquire(self) -> str | None:
        """Take the lock and return None, or say who holds it."""
        return self._acquire(fcntl.LOCK_NB)

    def check(self) -> None:
        """A flock lasts as long as its descriptor, so there is nothing to lose."""

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it; for what takes others a few milliseconds."""
        self._acquire(0)
        try:
            yield
        finally:
            self.release()

    def _acquire(self, how: int) -> str | None:
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, self._operation | how)
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, _myself(self._purpose), 0)
        except BlockingIOError:
            holder = _describe(os.pread(descriptor, 1000, 0))
            os.close(descriptor)
            return holder
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # it is held all the same
                os.close(descriptor)
                raise self._unusable(error) from error
        self._descriptor = descriptor
        return None

    def _open(self) -> int:
        try:
            return open_private(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if not is_no_file(error):
                raise self._unusable(error) from error
        # Nobody can hold a lock on it: whoever wants to comes here.
        set_aside(self._path, "it is not a file")
        try:
            return open_private(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"The lock file {self._path} cannot be used: {error.strerror}. Without it two "
            "deployment steps could run at once. Nothing was changed. It has to lie where the "
            "deploying user can write and lock files."
        )


def holder_of(path: Path) -> str | None:
    """Say who holds the lock on a file, None if nobody does or it is not there."""
    try:
        descriptor = open_private(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _describe(os.pread(descriptor, 1000, 0))
    finally:
        os.close(descriptor)


def watch_holder(path: Path) -> Holder | None:
    """Say who holds the lock on a file without trying to take it, which may refuse somebody.

    None if nobody does, and where the system does not tell: Linux does.
    """
    try:
        status, content = path.lstat(), read_private(path)
        locks = LOCKS.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    facts = read_object(content) or {}
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    for pid, on, inode in _FLOCK.findall(locks):
        # Some file systems show another device there; then the process has to be the same.
        if int(inode) == status.st_ino and (on == device or pid == str(facts.get("pid"))):
            return _holder(facts)
    return None


def _holder(facts: Mapping[str, object]) -> Holder:
    pid = facts.get("pid")
    try:
        since = datetime.fromisoformat(str(facts.get("since")))
    except ValueError:
        since = None
    return Holder(
        str(facts.get("purpose", "")),
        pid if isinstance(pid, int) else 0,
        str(facts.get("host", "")),
        since,
    )


def own_directory(path: Path, purpose: str) -> LockFile:
    """Make a private directory that is known as this process's while it holds the lock."""
    path.mkdir(mode=0o700)
    owner = LockFile(path / OWNER, purpose)
    owner.try_acquire()
    return owner


@contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """Make a private directory for the block; after a kill the next one removes it."""
    with scratch_directory_in(private_directory(parent)) as path:
        yield path


@contextmanager
def scratch_directory_in(parent: Path) -> Iterator[Path]:
    """The same in a directory that the caller has looked at: as root it may be another user's."""
    path = parent / f"{os.getpid()}-{secrets.token_hex(4)}"
    with LockFile(parent / ".lock", "sweep").held():
        for left in parent.iterdir():
            if left.is_dir() and holder_of(left / OWNER) is None:
                shutil.rmtree(left, ignore_errors=True)
        owner = own_directory(path, "scratch")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        owner.release()


def _myself(purpose: str) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"purpose": purpose, "pid": os.getpid(), "host": socket.gethostname(), "since": now}
    return json.dumps(facts).encode()


def _describe(content: bytes) -> str:
    facts = read_object(content) or {}
    try:
        return (
            f"{facts['purpose']} (process {facts['pid']} on {facts['host']}) since {facts['since']}"
        )
    except KeyError:
        return "a process that has not said yet who it is"
