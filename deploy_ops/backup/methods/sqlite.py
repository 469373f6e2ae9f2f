"""SQLite saved as one file, by its own backup API."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from deploy_ops.advice import manage
from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.base import Method, Snapshot, Unchanged
from deploy_ops.databases.sqlite import SqliteDatabase
from deploy_ops.databases.sqlite.contents import (
    check_integrity,
    count_rows,
    find_orphans,
    read_migrations,
    read_sequences,
)
from deploy_ops.databases.sqlite.copying import (
    COMPANIONS,
    Stalled,
    claim,
    copy_database,
    frozen,
    reading,
    remove,
)
from deploy_ops.databases.sqlite.registered import REGISTER, is_missing, reading_copy
from deploy_ops.errors import (
    BackupCorrupt,
    BackupError,
    BackupFailed,
    DatabaseUnavailable,
    RestoreFailed,
    RestoreRefused,
)
from deploy_ops.files import sync_directory
from deploy_ops.progress import Progress

FILE = "database.sqlite3"


class SqliteCopy(Method):
    """A copy of the SQLite database behind an alias."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self.database = SqliteDatabase(alias)

    def check_backup(self) -> list[str]:
        """Look for a file that is missing or not a database."""
        try:
            self.database.identify()
        except DatabaseUnavailable as error:
            return [str(error)]
        return []

    def dump(self, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
        """Copy the database and count its rows in the copy."""
        position = self.database.write_position()
        target = claim(directory / FILE)
        try:
            with reading(self.database.path) as source:
                copy_database(source, target, progress, "Database")
            with reading_copy(target, self.alias) as copy:
                counts, sequences = count_rows(copy), read_sequences(copy)
                migrations, orphans = read_migrations(copy), len(find_orphans(copy))
        except (sqlite3.Error, Stalled) as error:
            raise BackupFailed(
                f"Database {self.database.path} could not be copied: {error}. No backup was made "
                f"and the database was not changed. {_remedy(error)}"
            ) from error
        versions = {"server": sqlite3.sqlite_version, "client": sqlite3.sqlite_version}
        extra = {"foreign_key_violations": orphans}
        return Snapshot(
            counts, sequences, migrations, position | {"counts": counts}, versions, extra
        )

    def read_through(self, directory: Path) -> None:
        """Let SQLite check every page and index of the copy."""
        check_integrity(directory / FILE, self.alias)

    def check_restore(self, manifest: Manifest, *, into: str | None = None) -> list[str]:
        """Look for another engine or database, too little space or rights, a name that is taken."""
        if manifest.database.engine != self.database.vendor:
            return [f"The backup is of {manifest.database.engine}, and the database is SQLite."]
        problems = [] if into is not None else [*self._not_to_replace(manifest)]
        if not os.access(self.database.path.parent, os.W_OK):
            problems.append(
                f"{self.database.path.parent} cannot be written; give this user the right to."
            )
        if into is not None:
            problems += self._name_not_taken(self.database.path_beside(into))
        problems += self._check_free_space(manifest)
        return problems

    def restore_beside(
        self, directory: Path, manifest: Manifest, *, name: str, jobs: int, progress: Progress
    ) -> None:
        """Copy the backup to a new file beside the live one, and check it."""
        try:
            target = claim(self.database.path_beside(name))
        except FileExistsError as error:
            raise RestoreRefused(
                f"{error.filename} exists. Nothing was changed. Choose another name."
            ) from error
        except OSError as error:
            raise RestoreRefused(
                f"{error.filename} cannot be made: {error.strerror}. Nothing was changed. Choose "
                "another name."
            ) from error
        try:
            with frozen(directory / FILE) as source:
                copy_database(source, target, progress, "Restore")
            check_integrity(target, self.alias)
            self._check_orphans(target, manifest)
        except (sqlite3.Error, Stalled, OSError, BackupError) as error:
            remove(target)
            raise RestoreFailed(
                f"The backup could not be restored to {target}: {error}\n"
                "The file was removed again; the live database was not changed."
            ) from error
        sync_directory(target.parent)

    def check_in_place(self, manifest: Manifest) -> list[str]:
        """Say that there is no such thing."""
        return [
            "Databases of sqlite are not restored in place. Leave out --in-place: the "
            f"backup of {manifest.database.name} is restored beside, then swapped."
        ]

    def restore_in_place(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        unless_changed: Unchanged | None = None,
        progress: Progress,
    ) -> None:
        """Refuse: raises RestoreRefused."""
        raise RestoreRefused("\n".join(self.check_in_place(manifest)))

    def _check_orphans(self, target: Path, manifest: Manifest) -> None:
        with reading_copy(target, self.alias) as copy:
            found = len(find_orphans(copy))
        if found != manifest.extra["foreign_key_violations"]:
            raise BackupCorrupt(
                f"{found} rows violate a foreign key; at the backup it was "
                f"{manifest.extra['foreign_key_violations']}."
            )

    def _name_not_taken(self, path: Path) -> Iterator[str]:
        """Whether a new file may have that name, and the side files that SQLite gives it."""
        if not os.access(path.parent, os.W_OK) or not path.parent.is_dir():
            yield f"{path.parent} is no directory that this user can write; choose another name."
            return
        longest = os.pathconf(path.parent, "PC_NAME_MAX") - max(map(len, COMPANIONS))
        if len(os.fsencode(path.name)) > longest:
            yield f"The name of the new file has more than {longest} bytes; choose another name."
        elif path.name.endswith(COMPANIONS):
            yield (
                f"SQLite would take {path} for a part of another database: names that end in "
                f"{', '.join(COMPANIONS)} are its own. Choose another name."
            )
        elif path.exists():
            yield f"{path} exists; choose another name."

    def _not_to_replace(self, manifest: Manifest) -> Iterator[str]:
        """Whether there is a live database, and the backup is of it."""
        live, saved = self.database.path, manifest.database.name
        if not live.exists():
            yield (
                f"There is no live database {live} to replace. Restore it under that name:\n"
                + manage("restore", manifest.id, "--into", live.name, alias=self.alias)
            )
        elif saved != str(live):
            yield (
                f"The backup is of database {saved}, not of this {live}. Restore it into a file "
                "of another name beside it:\n"
                + manage("restore", manifest.id, "--into", "NAME", alias=self.alias)
            )

    def _check_free_space(self, manifest: Manifest) -> list[str]:
        """A restore writes the new file, the previous one, and as much again during the swap."""
        live = self.database.path
        size = manifest.database.size_bytes + 2 * (live.stat().st_size if live.exists() else 0)
        free = shutil.disk_usage(self.database.path.parent).free
        if free >= size:
            return []
        return [
            f"{self.database.path.parent} has {free / 1e6:.0f} MB free, and the restore needs "
            f"{size / 1e6:.0f} MB there."
        ]


def _remedy(error: Exception) -> str:
    if is_missing(error):
        return REGISTER
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return "The database file or the disk is damaged; an older backup may be sound."
    return (
        "If it is written to all the time, allow reading beside writing:\n"
        "    PRAGMA journal_mode = WAL"
    )
