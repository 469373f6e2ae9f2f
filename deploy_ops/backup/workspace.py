"""Directories that a process is filling: its own while it lives, swept once it is dead.

The owner is known by the lock that it holds on a file inside (lock_file.py). What must not
interleave (sweeping, making a directory, numbering backups) happens under `guarded`.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from deploy_ops.backup.manifest import NAME
from deploy_ops.files import sync_directory
from deploy_ops.ids import is_id
from deploy_ops.lock_file import OWNER, LockFile, holder_of, own_directory

PARTIAL = ".partial-"
OPENED = ".opened-"
DELETED = ".deleted-"


def guarded(backup_dir: Path) -> AbstractContextManager[None]:
    """Wait for the few milliseconds in which another process sweeps, begins or numbers."""
    return LockFile(backup_dir / ".lock", "sweep").held()


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
def open_workspace(backup_dir: Path, name: str) -> Iterator[Workspace]:
    """Own directory `name` of `backup_dir`, 0700, and first sweep what dead processes left."""
    with guarded(backup_dir):
        _sweep(backup_dir)
        owner = own_directory(backup_dir / name, "backup")
    workspace = Workspace(backup_dir / name)
    try:
        yield workspace
    finally:
        workspace.close()
        owner.release()


def sweep(backup_dir: Path) -> list[str]:
    """Remove what dead processes left in the directory; return the names."""
    with guarded(backup_dir):
        return _sweep(backup_dir)


def owner_of(path: Path) -> str | None:
    """Say which live process fills a directory, None if none does."""
    return holder_of(path / OWNER)


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


def _sweep(backup_dir: Path) -> list[str]:
    remains = [path for path in backup_dir.iterdir() if _is_left_over(path)]
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
