"""Copying SQLite databases whole: by its backup API, with an end to the waiting."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3._functions import (  # type: ignore[import-untyped]
    register as register_functions,
)

from deploy_ops.files import open_private, sync_directory
from deploy_ops.progress import Progress, Silent

STALL_SECONDS = 30.0
LOCK_SECONDS = 10.0
COPY_PAGES = 4096
COMPANIONS = ("-wal", "-shm", "-journal")
HEADER_BYTES = 100
CHUNK_BYTES = 1024 * 1024
OK = 0  # SQLITE_OK as Connection.backup() tells its progress function


class Stalled(Exception):
    """A copy got no further because others hold or change the database."""


def claim(path: Path) -> Path:
    """Make a new private file; raises FileExistsError.

    Whoever removes a file after a failure must have claimed it before: else it is somebody's.
    """
    os.close(open_private(path))
    return path


def copy_database(source: sqlite3.Connection, target: Path, progress: Progress, label: str) -> None:
    """Copy a database to a claimed file; raises Stalled when it gets no further.

    A full disk is the OSError that it is for everybody else.
    """
    page_bytes = pragma(source, "page_size")
    least, deadline = float("inf"), time.monotonic() + STALL_SECONDS

    def step(_status: int, remaining: int, total: int) -> None:
        nonlocal least, deadline
        report((total - remaining) * page_bytes)
        if remaining < least:
            least, deadline = remaining, time.monotonic() + STALL_SECONDS
        elif time.monotonic() > deadline:
            # A writer makes SQLite begin again; without a limit that can go on for ever.
            raise Stalled(f"no progress for {STALL_SECONDS:.0f} s, others write all the time")

    total_bytes = pragma(source, "page_count") * page_bytes
    try:
        with progress.track(label, total_bytes) as report, connected(target) as copy:
            source.backup(copy, pages=COPY_PAGES, progress=step, sleep=0.05)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
    _sync(target)


def overwrite(
    target: sqlite3.Connection, source: sqlite3.Connection, when_locked: Callable[[], None]
) -> None:
    """Write all pages of the source into the target in one transaction.

    The first step takes the write lock. Steps are small at first hand, so that it is not also the
    last one, which commits: `when_locked` must run in between.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    is_locked = False

    def step(status: int, _remaining: int, _total: int) -> None:
        nonlocal is_locked
        if status == OK and not is_locked:
            is_locked = True
            when_locked()
        elif status != OK and not is_locked and time.monotonic() > deadline:
            raise Stalled(f"another process has written for {LOCK_SECONDS:.0f} s")

    pages = max(1, pragma(source, "page_count") // 100)
    source.backup(target, pages=pages, progress=step, sleep=0.05)


def lock_out_others(live: sqlite3.Connection) -> None:
    """Lock a database that is not in WAL mode until the connection is closed.

    Polled densely: SQLite's own waiting backs off, and then a busy writer never lets it in.
    """
    live.execute("PRAGMA busy_timeout = 0")
    live.execute("PRAGMA locking_mode = EXCLUSIVE")
    deadline = time.monotonic() + LOCK_SECONDS
    while not _try_exclusive(live):
        if time.monotonic() > deadline:
            raise Stalled(f"others have held it for {LOCK_SECONDS:.0f} s")
        time.sleep(0.0002)
    live.execute("COMMIT")


def _try_exclusive(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def keep(live: sqlite3.Connection, old: Path, before: Callable[[], None]) -> None:
    """Copy the live database; the copy goes again only while nothing has been overwritten.

    It gets its name when it is whole, so that a kill leaves no half of it under that.
    """
    if old.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(old))
    copy = claim(partial_of(old))
    try:
        copy_database(live, copy, Silent(), "Keep")
        os.rename(copy, old)
        sync_directory(old.parent)
        before()
    except BaseException:
        remove(copy)
        remove(old)
        raise


def partial_of(path: Path) -> Path:
    """Name a copy that is being made."""
    return path.with_name(f".{path.name}.partial")


def holds(live: Path, copy: Path) -> bool:
    """Whether the live file has the pages of a copy; the header counts commits and may differ."""
    probe = live.with_name(f"{live.name}.{os.getpid()}.probe")
    claim(probe)
    try:
        with reading(live) as connection:
            copy_database(connection, probe, Silent(), "Compare")
        return _same_but_header(probe, copy)
    finally:
        remove(probe)


def _same_but_header(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        first.seek(HEADER_BYTES)
        second.seek(HEADER_BYTES)
        pairs = zip(
            iter(partial(first.read, CHUNK_BYTES), b""),
            iter(partial(second.read, CHUNK_BYTES), b""),
        )
        return all(a == b for a, b in pairs)


def remove(path: Path) -> None:
    for name in (path.name, *(path.name + companion for companion in COMPANIONS)):
        path.with_name(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def connected(path: Path, options: str = "mode=rw") -> Iterator[sqlite3.Connection]:
    """Open a database with Django's functions, which CHECK constraints and indexes may use."""
    uri = f"{path.as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None)
    with closing(connection):
        register_functions(connection)
        yield connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a live database; in WAL mode what is read is one snapshot, whoever writes."""
    with connected(path) as connection:
        if pragma(connection, "journal_mode") == "wal":
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        yield connection


def frozen(path: Path) -> AbstractContextManager[sqlite3.Connection]:
    """Open a copy that nobody writes to, leaving no -wal or -shm beside it."""
    return connected(path, "mode=ro&immutable=1")


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
