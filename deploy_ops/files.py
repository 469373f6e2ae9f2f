"""Private files that survive a crash: 0600, 0700, written beside, fsynced, then renamed.

Or only added to, one JSON object a line: a crash or a full disk may leave half a line at the end.
It is passed over when the file is read, and cut off before more is added, since what followed it on
the same line could never be read again.
"""

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def open_lines(path: Path) -> int:
    """Open a file of lines for adding to it, made 0600 if need be; return its descriptor."""
    descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    content = path.read_bytes()
    whole_bytes = content.rfind(b"\n") + 1
    if whole_bytes != len(content):
        os.ftruncate(descriptor, whole_bytes)
    return descriptor


def append_line(descriptor: int, entry: Mapping[str, Any]) -> None:
    """Add one line, whole and durable when this returns; OSError if it cannot be."""
    line = json.dumps(entry, default=str).encode() + b"\n"
    before_bytes = os.fstat(descriptor).st_size
    if os.write(descriptor, line) != len(line):  # the disk had room for a part of it
        os.ftruncate(descriptor, before_bytes)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def add_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add one line to a file that is not kept open."""
    descriptor = open_lines(path)
    try:
        append_line(descriptor, entry)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return every whole line, oldest first; FileNotFoundError if there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


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
