"""Private files that survive a crash: 0600, 0700, written beside, fsynced, then renamed.

Or only added to, one JSON object a line: a crash or a full disk may leave half a line at the end.
It is passed over when the file is read, and cut off before more is added, since what followed it on
the same line could never be read again.

What is read back may have been damaged by a disk, a crash or a person. It is never trusted, and
what cannot be read stops nothing else: it is named, kept, and where it is in the way set aside
under another name. Whoever runs a command reads of it there; see `_warn`.
"""

import errno
import json
import logging
import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from deploy_ops.errors import ConfigurationError

LIMIT_BYTES = 256 * 1024 * 1024  # far above any journal; what is larger is none of ours
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a file: those that could be read, oldest first, and what could not.

    `damage` names the file and the lines in it that are not JSON objects, or why none of it can
    be read; "" if there is none.
    """

    entries: list[dict[str, Any]]
    damage: str = ""


def private_directory(path: Path) -> Path:
    """Return the directory, created 0700; raises ConfigurationError if it is not ours alone."""
    try:
        _make(path)
        status = path.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"Directory {path} cannot be made or read: {error.strerror}. Nothing was changed. "
            "Give the deploying user a directory it can write."
        ) from error
    mode, name = stat.S_IMODE(status.st_mode), shlex.quote(str(path))
    if stat.S_ISLNK(status.st_mode):
        raise ConfigurationError(
            f"{path} is a symbolic link, and whoever can change a link decides where whole "
            "databases are written. Nothing was changed. Name the directory itself in the "
            f"settings:\n    readlink -f {name}"
        )
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"Directory {path} belongs to another user (uid {status.st_uid}), who could read what "
            f"is written there: whole databases. Nothing was changed. Run this as that user, or "
            f"take the directory over:\n    chown {os.geteuid()} {name}"
        )
    if mode & 0o077:
        raise ConfigurationError(
            f"Directory {path} is open to other users (mode {mode:04o}); it holds whole databases. "
            f"Nothing was changed. Close it:\n    chmod 700 {name}"
        )
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise ConfigurationError(
            f"Directory {path} lies on a read-only file system. Nothing was changed. See whether "
            f"the disk is damaged, and make it writable:\n    findmnt --target {name}"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"Directory {path} cannot be written by this user. Nothing was changed. "
            f"Allow it:\n    chmod 700 {name}"
        )
    return path


def _make(path: Path) -> None:
    """Create the directory and those above it, each 0700: mkdir's `parents` takes no mode."""
    if not path.is_dir():
        _make(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path, flags: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL) -> int:
    """Open a file 0600 without following a link; return its descriptor.

    Raises OSError for what is no file: a FIFO would be waited for, for ever.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from error
        raise
    _check_kind(path, descriptor)
    return descriptor


def read_private(path: Path) -> bytes:
    """Read a whole file; raises OSError for what is no file, or too large to be one of ours."""
    with open(open_private(path, os.O_RDONLY), "rb") as file:
        _check_size(path, file.fileno())
        return file.read()


def read_named(path: Path) -> bytes:
    """Read a whole file that somebody has named, through links too; raises as read_private."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    _check_kind(path, descriptor)
    with open(descriptor, "rb") as file:
        _check_size(path, descriptor)
        return file.read()


def _check_kind(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a file", str(path))


def _check_size(path: Path, descriptor: int) -> None:
    if os.fstat(descriptor).st_size > LIMIT_BYTES:
        raise OSError(errno.EFBIG, "it is too large to be a file of deploy_ops", str(path))


def is_no_file(error: OSError) -> bool:
    """Whether what has the name is none of our files, and so will never be opened."""
    return error.errno in (errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO, errno.EFBIG)


def set_aside(path: Path, reason: str) -> None:
    """Give what cannot be read another name, and say so; it is never deleted."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    try:
        os.rename(path, aside)
        sync_directory(path.parent)
    except OSError as error:
        _warn(f"{path} cannot be used: {reason}. It cannot be set aside: {error.strerror}.")
    else:
        _warn(f"{path} cannot be used: {reason}. It is kept as {aside.name} beside it.")


@lru_cache(1000)
def _warn(text: str) -> None:
    """Tell the operator, once a process: commands print what is logged here on stderr."""
    logger.warning("%s", text)


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
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        _check_size(path, descriptor)
        whole_bytes = _end_of_last_line(descriptor)
        if whole_bytes != os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, whole_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _end_of_last_line(descriptor: int) -> int:
    """Look from the end of the file, a piece at a time, for the last newline."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 64 * 1024)
        if (at := os.pread(descriptor, end - start, start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0


def append_line(descriptor: int, entry: Mapping[str, Any], *, durably: bool = True) -> None:
    """Add one line whole, and `durably`: on the disk when this returns; OSError if it cannot be."""
    line = json.dumps(entry, default=str).encode() + b"\n"
    before_bytes = os.fstat(descriptor).st_size
    if os.write(descriptor, line) != len(line):  # the disk had room for a part of it
        os.ftruncate(descriptor, before_bytes)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if durably:
        os.fsync(descriptor)


def add_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add one line to a file that is not kept open; what is no file under its name is set aside."""
    try:
        descriptor = open_lines(path)
    except OSError as error:
        if not is_no_file(error):
            raise
        set_aside(path, str(error.strerror))
        descriptor = open_lines(path)
    try:
        append_line(descriptor, entry)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Lines:
    """Return every whole line, oldest first; what cannot be read is passed over and told.

    Raises FileNotFoundError if there is no file.
    """
    try:
        lines = read_private(path).split(b"\n")[:-1]
    except FileNotFoundError:
        raise
    except OSError as error:
        damage = f"{path} cannot be read: {error.strerror}"
        _warn(f"{damage}.")
        return Lines([], damage)
    entries = [read_object(line) for line in lines]
    bad = [str(number) for number, entry in enumerate(entries, 1) if entry is None]
    damage = f"{path} has lines that cannot be read: {_listed(bad)}" if bad else ""
    if damage:
        _warn(f"{damage}. They are passed over and kept.")
    return Lines([entry for entry in entries if entry is not None], damage)


def read_object(content: bytes) -> dict[str, Any] | None:
    """Return a JSON object, None if it is none; NUL bytes, which a crash leaves, do not count."""
    try:
        value = json.loads(content.strip(b"\0"))
        # Halves of a surrogate pair can be read so, and then not be shown or written anywhere.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _listed(numbers: list[str], most: int = 5) -> str:
    rest = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(numbers[:most]) + rest


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
