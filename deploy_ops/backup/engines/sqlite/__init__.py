"""SQLite: one file, copied by its own backup API both ways.

A copy of the file misses what is in the WAL, and writing over a live file is undone by it. A
database "beside" is a file of the same directory and is named by its path.
"""

import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.db import connections

from deploy_ops.backup.engines.base import (
    Answer,
    Counts,
    Engine,
    Identity,
    Json,
    Snapshot,
    Writes,
)
from deploy_ops.backup.engines.sqlite.contents import (
    check_integrity,
    count_rows,
    find_orphans,
    read_migrations,
    read_sequences,
)
from deploy_ops.backup.engines.sqlite.copying import (
    Stalled,
    claim,
    connected,
    copy_database,
    frozen,
    holds,
    keep,
    lock_out_others,
    overwrite,
    pragma,
    reading,
    remove,
)
from deploy_ops.backup.manifest import Manifest
from deploy_ops.errors import (
    BackupCorrupt,
    BackupFailed,
    ConfigurationError,
    DatabaseUnavailable,
    RestoreFailed,
    RestoreRefused,
)
from deploy_ops.files import sync_directory
from deploy_ops.progress import Progress

FILE = "database.sqlite3"
KINDS = "before_restore|restoring|verify|failed"
# Connections that marks were taken on, by token: held, so that no later one is taken for them.
_MARKED: dict[str, sqlite3.Connection] = {}


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
            with reading(self.path) as connection:
                size = pragma(connection, "page_count") * pragma(connection, "page_size")
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
        version, connection = self._data_version()
        token = secrets.token_hex(8)
        _MARKED[token] = connection
        return {"data_version": version, "connection": token}

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
        target = claim(directory / FILE)
        try:
            with reading(self.path) as source:
                copy_database(source, target, progress, "Database")
            with frozen(target) as copy:
                counts, sequences = count_rows(copy), read_sequences(copy)
                migrations, orphans = read_migrations(copy), len(find_orphans(copy))
        except (sqlite3.Error, Stalled) as error:
            raise BackupFailed(
                f"Database {self.path} could not be copied: {error}. No backup was made and the "
                f"database was not changed. {_remedy(error)}"
            ) from error
        versions = {"server": sqlite3.sqlite_version, "client": sqlite3.sqlite_version}
        extra = {"foreign_key_violations": orphans}
        return Snapshot(counts, sequences, migrations, mark | {"counts": counts}, versions, extra)

    def read_through(self, directory: Path) -> None:
        """Let SQLite check every page and index of the copy."""
        check_integrity(directory / FILE)

    def check_restore(self, manifest: Manifest, *, into: str | None = None) -> list[str]:
        """Look for another engine, a directory without room or rights, a name that is taken."""
        problems = []
        if manifest.database.engine != self.vendor:
            engine = manifest.database.engine
            problems.append(f"The backup is of {engine}; database '{self.alias}' is SQLite.")
        if not os.access(self.path.parent, os.W_OK):
            problems.append(f"{self.path.parent} cannot be written; give this user the right to.")
        if into is not None and self._beside(into).exists():
            problems.append(f"{self._beside(into)} exists; choose another name.")
        problems += self._check_room(manifest)
        return problems

    def restore_beside(
        self, directory: Path, manifest: Manifest, *, name: str, jobs: int, progress: Progress
    ) -> None:
        """Copy the backup to a new file beside the live one, and check it."""
        try:
            target = claim(self._beside(name))
        except FileExistsError as error:
            raise RestoreRefused(
                f"{error.filename} exists. Nothing was changed. Choose another name."
            ) from error
        try:
            with frozen(directory / FILE) as source:
                copy_database(source, target, progress, "Restore")
            check_integrity(target)
            self._check_orphans(target, manifest)
        except (sqlite3.Error, Stalled, OSError, BackupCorrupt) as error:
            remove(target)
            raise RestoreFailed(
                f"The backup could not be restored to {target}: {error}\n"
                "The file was removed again; the live database was not changed."
            ) from error
        sync_directory(target.parent)

    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count the tables of a file and read its AUTOINCREMENT sequences."""
        with reading(self._beside(name)) as connection:
            return count_rows(connection), read_sequences(connection)

    def name_beside(self, suffix: str) -> str:
        """Name a file beside the live one."""
        return str(self.path.with_name(f"{self.path.stem}_{suffix}{self.path.suffix}"))

    def swap(self, beside: str, kept: str, *, before: Callable[[], None]) -> None:
        """Copy the live database to `kept`, then `beside` into the live file, under one lock.

        Clients keep their connections and see the restored rows next. The file `beside` is
        removed in the end. Django's connection is closed: it stays open until then because a mark
        was taken on it, so that `writes_since` gives proof when `before` calls it.
        """
        new, old = self._beside(beside), self._beside(kept)
        wrapper = connections[self.alias]
        wrapper.ensure_connection()
        try:
            self._exchange(wrapper.connection, new, old, before)
        except (sqlite3.Error, Stalled, OSError) as error:
            raise RestoreFailed(
                f"{self.path} could not be taken over: {error}. The live database was not "
                "changed. Stop what writes to it, then restore again."
            ) from error
        finally:
            wrapper.close()
        remove(new)

    def repair_swap(self, beside: str, kept: str) -> str:
        """Find out by its pages which database the live file holds, and clean up behind it."""
        new, old = self._beside(beside), self._beside(kept)
        if not new.exists():
            return f"The exchange had finished; the database before it is {old}."
        if holds(self.path, new):
            remove(new)
            return f"The exchange had finished; the database before it is {old}."
        if old.exists() and not holds(self.path, old):
            return f"The live database was written to since; {new} and {old} are kept beside it."
        remove(old)
        return f"The exchange had not begun: SQLite took it back. {new} is kept beside."

    def drop(self, name: str) -> None:
        """Delete a file beside the live one."""
        path = self._beside(name)
        if path == self.path:
            raise RestoreRefused(f"{path} is the live database. Nothing was changed.")
        remove(path)

    def databases_beside(self) -> list[str]:
        """Files that restores left or made, oldest first."""
        live = self.path
        stem, suffix = re.escape(live.stem), re.escape(live.suffix)
        form = re.compile(rf"{stem}_({KINDS})_(?P<time>[0-9]{{8}}T[0-9]{{6}}Z)\w*{suffix}")
        matches = [(form.fullmatch(path.name), path) for path in live.parent.iterdir()]
        found = [(match["time"], str(path)) for match, path in matches if match]
        return [name for _, name in sorted(found)]

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
        now = count_rows(connections[self.alias].connection)
        tables = now.keys() | before.keys()
        gained = {t: now.get(t, 0) - before.get(t, 0) - own.get(t, 0) for t in tables}
        return {table: rows for table, rows in sorted(gained.items()) if rows}

    def _check_orphans(self, target: Path, manifest: Manifest) -> None:
        with frozen(target) as copy:
            found = len(find_orphans(copy))
        if found != manifest.extra["foreign_key_violations"]:
            raise BackupCorrupt(f"{found} rows refer to rows that are not there.")

    def _check_room(self, manifest: Manifest) -> list[str]:
        """A restore writes the new file, the kept one, and as much again while it exchanges."""
        size = manifest.database.size_bytes + 2 * self.path.stat().st_size
        free = shutil.disk_usage(self.path.parent).free
        if free >= size:
            return []
        return [
            f"{self.path.parent} has {free / 1e6:.0f} MB free, and the restore needs "
            f"{size / 1e6:.0f} MB there."
        ]

    def _exchange(
        self, live: sqlite3.Connection, new: Path, old: Path, before: Callable[[], None]
    ) -> None:
        """Keep the live database and overwrite it without a moment for writers in between."""
        with frozen(new) as source:
            if pragma(live, "journal_mode") == "wal":
                with connected(self.path) as target:
                    overwrite(target, source, lambda: keep(live, old, before))
            else:
                # Others can neither read nor write from here until this connection is closed.
                lock_out_others(live)
                keep(live, old, before)
                overwrite(live, source, lambda: None)


def _remedy(error: Exception) -> str:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return "The database file or the disk is damaged; an older backup may be sound."
    return (
        "If it is written to all the time, allow reading beside writing:\n"
        "    PRAGMA journal_mode = WAL"
    )
