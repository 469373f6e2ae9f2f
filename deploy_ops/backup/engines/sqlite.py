"""SQLite: one file, copied by its own backup API both ways (research/backups.md, 7 #29).

A copy of the file misses what is in the WAL, and writing over a live file is undone by it. A
database "beside" is a file of the same directory and is named by its path.
"""

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import connections
from django.db.backends.sqlite3._functions import (  # type: ignore[import-untyped]
    register as register_functions,
)

from deploy_ops.backup.engines.base import (
    Answer,
    Counts,
    Engine,
    Identity,
    Json,
    Snapshot,
    Writes,
)
from deploy_ops.errors import (
    BackupCorrupt,
    BackupFailed,
    ConfigurationError,
    DatabaseUnavailable,
    DeployOpsError,
    RestoreFailed,
    RestoreRefused,
)
from deploy_ops.files import open_private, sync_directory
from deploy_ops.progress import Progress, Silent

FILE = "database.sqlite3"
STALL_SECONDS = 30.0
LOCK_SECONDS = 10.0
BESIDE = ("before_restore_", "restore_", "verify_", "kept_")
COMPANIONS = ("-wal", "-shm", "-journal")
HEADER_BYTES = 100
CHUNK = 1024 * 1024
# Connections that marks were taken on, by token: held, so that no later one is taken for them.
_MARKED: dict[str, sqlite3.Connection] = {}
OK = 0  # SQLITE_OK as Connection.backup() tells its progress function


class Stalled(Exception):
    """A copy got no further because others hold or change the database."""


class SqliteEngine(Engine):
    """The SQLite database behind an alias."""

    vendor = "sqlite"

    @property
    def path(self) -> Path:
        """The file; raises ConfigurationError for a database in memory."""
        connection = connections[self.alias]
        name = str(connection.settings_dict["NAME"])
        if connection.is_in_memory_db():  # type: ignore[attr-defined]
            raise ConfigurationError(
                f"Database '{self.alias}' is SQLite in memory and ends with its process, so it "
                "can be neither backed up nor restored. Nothing was changed. Name a file."
            )
        return Path(unquote(urlsplit(name).path) if name.startswith("file:") else name).resolve()

    def identify(self) -> Identity:
        """Say which file this is; raises DatabaseUnavailable."""
        try:
            with _reading(self.path) as connection:
                size = _pragma(connection, "page_count") * _pragma(connection, "page_size")
        except sqlite3.Error as error:
            raise DatabaseUnavailable(
                f"Database {self.path} cannot be opened: {error}. Nothing was changed. "
                "A new one is made by:\n    python manage.py safe_migrate"
            ) from error
        version = sqlite3.sqlite_version_info
        number = version[0] * 1_000_000 + version[1] * 1000 + version[2]
        return Identity(self.vendor, str(self.path), "", "", "", 0, number, size)

    def mark(self) -> Json:
        """Take SQLite's data version as Django's own connection sees it.

        It changes when another connection commits, and means nothing to any other connection.
        """
        connection = connections[self.alias]
        with connection.cursor() as cursor:
            version = cursor.execute("PRAGMA data_version").fetchone()[0]
        return {
            "data_version": version,
            "pid": os.getpid(),
            "connection": id(connection.connection),
        }

    def writes_since(self, mark: Json, *, own_rows: Counts | None = None) -> Writes:
        """Tell by the data version if the connection is the same one, else by counting rows."""
        version, connection = self._data_version()
        is_same = _MARKED.get(mark["connection"]) is connection
        if is_same and version == mark["data_version"]:
            return Writes(Answer.NOBODY, {}, "SQLite's data version is unchanged")
        rows = self._difference(mark.get("counts"), own_rows or {})
        if is_same or rows:
            return Writes(Answer.WROTE, rows, "another connection committed since")
        return Writes(Answer.UNKNOWN, {}, "SQLite keeps no trace of updates for other processes")

    def check_backup(self) -> list[str]:
        """Look for a file that is missing or not a database."""
        try:
            self.identify()
        except DatabaseUnavailable as error:
            return [str(error)]
        return []

    def dump(self, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
        """Copy the database and count its rows in the copy."""
        mark = self.mark()
        target = directory / FILE
        try:
            with _reading(self.path) as source:
                _copy(source, target, progress, "Database")
            with _frozen(target) as copy:
                counts, sequences = _counts(copy), _sequences(copy)
                migrations, orphans = _migrations(copy), len(_orphans(copy))
        except (sqlite3.Error, Stalled) as error:
            raise BackupFailed(
                f"Database {self.path} could not be copied: {error}. No backup was made and the "
                "database was not changed. If it is written to all the time, allow reading beside "
                "it:\n    PRAGMA journal_mode = WAL"
            ) from error
        versions = {"server": sqlite3.sqlite_version, "client": sqlite3.sqlite_version}
        extra = {"foreign_key_violations": orphans}
        return Snapshot(counts, sequences, migrations, mark | {"counts": counts}, versions, extra)

    def read_through(self, directory: Path) -> None:
        """Let SQLite check every page and index of the copy."""
        _check_integrity(directory / FILE)

    def check_restore(self, manifest: Json, *, into: str | None = None) -> list[str]:
        """Look for another engine, a directory without room or rights, a name that is taken."""
        problems = []
        if manifest["database"]["engine"] != self.vendor:
            engine = manifest["database"]["engine"]
            problems.append(f"The backup is of {engine}; database '{self.alias}' is SQLite.")
        if not os.access(self.path.parent, os.W_OK):
            problems.append(f"{self.path.parent} cannot be written; give this user the right to.")
        if into is not None and self._beside(into).exists():
            problems.append(f"{self._beside(into)} exists; choose another name.")
        problems += self._check_room(manifest)
        return problems

    def restore_beside(
        self, directory: Path, manifest: Json, *, name: str, jobs: int, progress: Progress
    ) -> None:
        """Copy the backup to a new file beside the live one, and check it."""
        target = self._beside(name)
        if target.exists():
            raise RestoreRefused(f"{target} exists. Nothing was changed. Choose another name.")
        try:
            with _frozen(directory / FILE) as source:
                _copy(source, target, progress, "Restore")
            _check_integrity(target)
            self._check_orphans(target, manifest)
        except (sqlite3.Error, Stalled, OSError, BackupCorrupt) as error:
            _remove(target)
            raise RestoreFailed(
                f"The backup could not be restored to {target}: {error}\n"
                "The file was removed again; the live database was not changed."
            ) from error
        sync_directory(target.parent)

    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count the tables of a file and read its AUTOINCREMENT sequences."""
        with _reading(self._beside(name)) as connection:
            return _counts(connection), _sequences(connection)

    def name_beside(self, suffix: str) -> str:
        """Name a file beside the live one."""
        return str(self.path.with_name(f"{self.path.stem}_{suffix}{self.path.suffix}"))

    def swap(self, beside: str, kept: str, *, before: Callable[[], None]) -> None:
        """Copy the live database to `kept`, then `beside` into the live file, under one lock.

        Clients keep their connections and see the restored rows next. The file `beside` is
        removed in the end.
        """
        connections[self.alias].close()
        new, old = self._beside(beside), self._beside(kept)
        try:
            self._exchange(new, old, before)
        except (sqlite3.Error, Stalled, OSError) as error:
            _remove(old)
            raise RestoreFailed(
                f"{self.path} could not be taken over: {error}. The live database was not "
                "changed. Stop what writes to it, then restore again."
            ) from error
        except DeployOpsError:
            _remove(old)
            raise
        _remove(new)

    def repair_swap(self, beside: str, kept: str) -> str:
        """Find out by its pages which database the live file holds, and clean up behind it."""
        new, old = self._beside(beside), self._beside(kept)
        if not new.exists():
            return f"The exchange had finished; the database before it is {old}."
        if _holds(self.path, new):
            _remove(new)
            return f"The exchange had finished; the database before it is {old}."
        if old.exists() and not _holds(self.path, old):
            return f"The live database was written to since; {new} and {old} are kept beside it."
        _remove(old)
        return f"The exchange had not begun: SQLite took it back. {new} is kept beside."

    def drop(self, name: str) -> None:
        """Delete a file beside the live one."""
        path = self._beside(name)
        if path == self.path:
            raise RestoreRefused(f"{path} is the live database. Nothing was changed.")
        _remove(path)

    def databases_beside(self) -> list[str]:
        """Files that restores left or made, oldest first."""
        live = self.path
        heads = tuple(f"{live.stem}_{infix}" for infix in BESIDE)
        found = [p for p in live.parent.glob(f"*{live.suffix}") if p.name.startswith(heads)]
        return [str(path) for path in sorted(found, key=lambda path: path.stat().st_mtime)]

    def _data_version(self) -> tuple[int, sqlite3.Connection]:
        wrapper = connections[self.alias]
        with wrapper.cursor() as cursor:
            version = cursor.execute("PRAGMA data_version").fetchone()[0]
        return version, wrapper.connection

    def _beside(self, name: str) -> Path:
        return self.path.parent / name

    def _difference(self, before: Counts | None, own: Counts) -> Counts:
        if before is None:
            return {}
        with _reading(self.path) as connection:
            now = _counts(connection)
        tables = now.keys() | before.keys()
        gained = {t: now.get(t, 0) - before.get(t, 0) - own.get(t, 0) for t in tables}
        return {table: rows for table, rows in sorted(gained.items()) if rows}

    def _check_orphans(self, target: Path, manifest: Json) -> None:
        with _frozen(target) as copy:
            found = len(_orphans(copy))
        if found != manifest["extra"]["foreign_key_violations"]:
            raise BackupCorrupt(f"{found} rows refer to rows that are not there.")

    def _check_room(self, manifest: Json) -> list[str]:
        """A restore writes the new file, the kept one, and as much again while it exchanges."""
        size = manifest["database"]["size_bytes"] + 2 * self.path.stat().st_size
        free = _free_bytes(self.path.parent)
        if free >= size:
            return []
        return [
            f"{self.path.parent} has {free / 1e6:.0f} MB free, and the restore needs "
            f"{size / 1e6:.0f} MB there."
        ]

    def _exchange(self, new: Path, old: Path, before: Callable[[], None]) -> None:
        """Keep the live database and overwrite it without a moment for writers in between."""
        with _frozen(new) as source, _connected(self.path) as target:
            if _pragma(target, "journal_mode") == "wal":
                with _reading(self.path) as reader:
                    _overwrite(target, source, lambda: _keep(reader, old, before))
            else:
                # Readers and writers wait from here to the end of the block.
                target.execute("PRAGMA locking_mode = EXCLUSIVE")
                target.execute("BEGIN EXCLUSIVE")
                target.execute("COMMIT")
                _keep(target, old, before)
                _overwrite(target, source, lambda: None)


def _keep(live: sqlite3.Connection, old: Path, before: Callable[[], None]) -> None:
    _copy(live, old, Silent(), "Keep")
    sync_directory(old.parent)
    before()


def _overwrite(
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

    pages = max(1, _pragma(source, "page_count") // 100)
    source.backup(target, pages=pages, progress=step, sleep=0.05)


def _copy(source: sqlite3.Connection, target: Path, progress: Progress, label: str) -> None:
    """Copy a database to a new private file; raises Stalled when it gets no further."""
    os.close(open_private(target))
    page_bytes = _pragma(source, "page_size")
    least, deadline = float("inf"), time.monotonic() + STALL_SECONDS

    def step(_status: int, remaining: int, total: int) -> None:
        nonlocal least, deadline
        report((total - remaining) * page_bytes)
        if remaining < least:
            least, deadline = remaining, time.monotonic() + STALL_SECONDS
        elif time.monotonic() > deadline:
            # A writer makes SQLite begin again; without a limit that can go on for ever.
            raise Stalled(f"no progress for {STALL_SECONDS:.0f} s, others write all the time")

    total_bytes = _pragma(source, "page_count") * page_bytes
    with progress.track(label, total_bytes) as report, _connected(target) as copy:
        source.backup(copy, pages=4096, progress=step, sleep=0.05)
    _sync(target)


@contextmanager
def _connected(
    path: Path, options: str = "mode=rw", timeout: float = LOCK_SECONDS
) -> Iterator[sqlite3.Connection]:
    """Open a database with Django's functions, which CHECK constraints and indexes may use."""
    uri = f"{path.as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
    with closing(connection):
        register_functions(connection)
        yield connection


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a live database; in WAL mode what is read is one snapshot, whoever writes."""
    with _connected(path) as connection:
        if _pragma(connection, "journal_mode") == "wal":
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        yield connection


def _frozen(path: Path) -> AbstractContextManager[sqlite3.Connection]:
    """Open a copy that nobody writes to, leaving no -wal or -shm beside it."""
    return _connected(path, "mode=ro&immutable=1")


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _check_integrity(path: Path) -> None:
    try:
        with _frozen(path) as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.Error as error:
        problems = [str(error)]
    if problems != ["ok"]:
        raise BackupCorrupt(f"{path.name} is damaged, says SQLite: {'; '.join(problems)}.")


def _orphans(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("PRAGMA foreign_key_check").fetchall()


def _counts(connection: sqlite3.Connection) -> Counts:
    quoted = {table: table.replace('"', '""') for table in _tables(connection)}
    return {
        table: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        for table, name in quoted.items()
    }


def _sequences(connection: sqlite3.Connection) -> Counts:
    found = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
    if not connection.execute(found).fetchone()[0]:
        return {}
    return dict(connection.execute("SELECT name, seq FROM sqlite_sequence ORDER BY name"))


def _migrations(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    if "django_migrations" not in _tables(connection):
        return []
    return connection.execute("SELECT app, name FROM django_migrations ORDER BY id").fetchall()


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [name for (name,) in rows]


def _holds(live: Path, copy: Path) -> bool:
    """Whether the live file has the pages of a copy; the header counts commits and may differ."""
    probe = live.with_name(f"{live.name}.{os.getpid()}.probe")
    try:
        with _reading(live) as connection:
            _copy(connection, probe, Silent(), "Compare")
        return _same_but_header(probe, copy)
    finally:
        _remove(probe)


def _same_but_header(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        first.seek(HEADER_BYTES)
        second.seek(HEADER_BYTES)
        pairs = zip(iter(partial(first.read, CHUNK), b""), iter(partial(second.read, CHUNK), b""))
        return all(a == b for a, b in pairs)


def _free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    for name in (path.name, *(path.name + companion for companion in COMPANIONS)):
        path.with_name(name).unlink(missing_ok=True)
