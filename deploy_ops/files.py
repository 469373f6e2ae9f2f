"""Private files that survive a crash: 0600, 0700, written beside, fsynced, then renamed."""

import os
import stat
from pathlib import Path

from deploy_ops.errors import ConfigurationError


def private_directory(path: Path) -> Path:
    """Return the directory, created 0700; raises ConfigurationError if others may read it."""
    try:
        _make(path)
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(
            f"Directory {path} cannot be made or read: {error.strerror}. Nothing was changed. "
            "Give the deploying user a directory it can write."
        ) from error
    if mode & 0o077:
        raise ConfigurationError(
            f"Directory {path} is open to other users (mode {mode:04o}); it holds whole databases. "
            f"Nothing was changed. Close it:\n    chmod 700 {path}"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"Directory {path} cannot be written by this user. Nothing was changed. "
            f"Change its owner:\n    chown $(id -u) {path}"
        )
    return path


def _make(path: Path) -> None:
    """Create the directory and those above it, each 0700: mkdir's `parents` takes no mode."""
    if not path.is_dir():
        _make(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path, flags: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL) -> int:
    """Open a file 0600 without following a link; return its descriptor."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def write_atomically(path: Path, content: bytes) -> None:
    """Put content under the name whole or not at all, durable when this returns."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    descriptor = open_private(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Make every file and directory below `path` durable."""
    for directory, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(Path(directory, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(directory))
