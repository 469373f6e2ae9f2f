"""Directories that a process is filling: its own while it lives, swept once it is dead.

The owner is told by flock(2) on a small file inside, which the kernel frees when the process
dies or the machine restarts, so neither a reused pid nor a stale file can mislead. What must
not interleave (sweeping, making a directory, numbering backups) happens under `guarded`.
"""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_ops.backup.manifest import NAME, is_id
from deploy_ops.files import open_private, sync_directory

OWNER = "owner"
PARTIAL = ".partial-"
OPENED = ".opened-"
DELETED = ".deleted-"


@contextmanager
def guarded(vault: Path) -> Iterator[None]:
    """Wait for the few milliseconds in which another process sweeps, begins or numbers."""
    descriptor = open_private(vault / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Workspace:
    """A directory that vanishes with its process unless it is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_kept = False

    def rename(self, target: Path) -> None:
        """Give the directory its final name, durably; it still vanishes until `keep`."""
        os.rename(self.path, target)
        self.path = target
        sync_directory(target.parent)

    def keep(self) -> None:
        """Say that the directory is finished and stays."""
        self._is_kept = True

    def close(self) -> None:
        """Remove the directory, or only the trace of its owner if it is kept."""
        if self._is_kept:
            (self.path / OWNER).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def workspace(vault: Path, name: str) -> Iterator[Workspace]:
    """Own directory `name` of the vault, 0700, and first sweep what dead processes left."""
    with guarded(vault):
        _sweep(vault)
        path = vault / name
        path.mkdir(mode=0o700)
        descriptor = open_private(path / OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    room = Workspace(path)
    try:
        os.write(
            descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        )
        yield room
    finally:
        room.close()
        os.close(descriptor)


def sweep(vault: Path) -> list[str]:
    """Remove what dead processes left in the vault; return the names."""
    with guarded(vault):
        return _sweep(vault)


def owner_of(path: Path) -> str | None:
    """Say which live process fills a directory, None if none does."""
    try:
        descriptor = os.open(path / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _describe(os.pread(descriptor, 1000, 0))
    finally:
        os.close(descriptor)


def make_parents(root: Path, path: str | Path) -> None:
    """Make the directories between a root and a file below it, each 0700 (mkdir -p is not)."""
    for parent in reversed(Path(path).parents):
        (root / parent).mkdir(mode=0o700, exist_ok=True)


def remove_tree(path: Path) -> None:
    """Delete a directory through a tombstone, so that a kill leaves no half backup behind."""
    tombstone = path.with_name(DELETED + path.name)
    os.rename(path, tombstone)
    sync_directory(path.parent)
    shutil.rmtree(tombstone)


def _sweep(vault: Path) -> list[str]:
    remains = [path for path in vault.iterdir() if _is_left_over(path)]
    for path in remains:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in remains]


def _is_left_over(path: Path) -> bool:
    if path.name.startswith(DELETED):
        return True
    if path.name.startswith((PARTIAL, OPENED)):
        return owner_of(path) is None
    # Renamed but killed before its manifest. Without an owner file it is a backup that lost its
    # manifest in some other way: shown as incomplete, never removed.
    is_unfinished = (path / OWNER).exists() and not (path / NAME).exists()
    return is_id(path.name) and is_unfinished and owner_of(path) is None


def _describe(content: bytes) -> str:
    try:
        facts = json.loads(content)
        return f"process {facts['pid']} on {facts['host']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has just begun"
