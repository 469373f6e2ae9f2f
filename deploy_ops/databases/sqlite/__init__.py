"""SQLite: one file, copied by its own backup API both ways.

A copy of the file misses what is in the WAL, and writing over a live file is undone by it. A
database "beside" is a file of the same directory and is named by its path.
"""

import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.db import connections

from deploy_ops.advice import manage
from deploy_ops.databases.base import (
    Answer,
    Counts,
    Database,
    Identity,
    Json,
    RowCounts,
    Schema,
    Writes,
    database_key,
)
from deploy_ops.databases.sqlite import schema
from deploy_ops.databases.sqlite.contents import (
    count_rows,
    read_sequences,
)
from deploy_ops.databases.sqlite.copying import (
    Stalled,
    connected,
    frozen,
    holds,
    keep,
    lock_out_others,
    overwrite,
    partial_of,
    pragma,
    reading,
    remove,
)
from deploy_ops.databases.sqlite.registered import register
from deploy_ops.databases.sqlite.rows import SqliteRows
from deploy_ops.databases.sqlite.transactions import SqliteTransactions
from deploy_ops.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    RestoreFailed,
    RestoreRefused,
)

KINDS = "before_restore|restoring|verify|failed"
# Connections that positions were taken on, by token: held, so that no later one is taken for them,
# as long as Django works with them.
_POSITIONS: dict[str, sqlite3.Connection] = {}


# Only PostgreSQL builds indexes concurrently, so nobody asks for them here.
class SqliteDatabase(SqliteRows, Database):  # pylint: disable=abstract-method
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

    def path_beside(self, name: str) -> Path:
        """The file of a database beside the live one."""
        return self.path.parent / name

    def identify(self) -> Identity:
        """Say which file this is; raises DatabaseUnavailable."""
        try:
            with reading(self.path) as connection:
                size = pragma(connection, "page_count") * pragma(connection, "page_size")
        except sqlite3.Error as error:
            raise DatabaseUnavailable(
                f"Database {self.path} cannot be opened: {error}. Nothing was changed. "
                f"To make a new one:\n{manage('safe_migrate', alias=self.alias)}"
            ) from error
        version = sqlite3.sqlite_version_info
        number = version[0] * 1_000_000 + version[1] * 1000 + version[2]
        return Identity(self.vendor, str(self.path), "", "", "", 0, number, size)

    def write_position(self) -> Json:
        """Take SQLite's data version as Django's own connection sees it.

        It changes when another connection commits, and means nothing to any other connection.
        """
        version, connection = self._data_version()
        for old in [token for token, each in _POSITIONS.items() if each is not connection]:
            del _POSITIONS[old]
        token = secrets.token_hex(8)
        _POSITIONS[token] = connection
        return {"data_version": version, "connection": token}

    def writes_since(self, position: Json, *, own_rows: RowCounts | None) -> Writes:
        """Tell by the data version if the connection is the same one, else by counting rows."""
        version, connection = self._data_version()
        is_same = _POSITIONS.get(position["connection"]) is connection
        if is_same and version == position["data_version"]:
            return Writes(Answer.NOBODY, {}, "SQLite's data version is unchanged")
        rows = self._difference(position.get("counts"))
        if is_same:
            return Writes(Answer.WROTE, rows, "another connection committed since")
        why = "SQLite keeps no trace of updates for other processes"
        return Writes(Answer.UNKNOWABLE, rows, why)

    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count the tables of a file and read its AUTOINCREMENT sequences."""
        with reading(self.path_beside(name)) as connection:
            register(connection, self.alias)
            return count_rows(connection), read_sequences(connection)

    def name_beside(self, suffix: str) -> str:
        """Name a file beside the live one."""
        return str(self.path.with_name(f"{self.path.stem}_{suffix}{self.path.suffix}"))

    def swap(self, beside: str, previous: str, *, before: Callable[[], None]) -> None:
        """Copy the live database to `previous`, then `beside` into the live file, under one lock.

        Clients keep their connections and see the restored rows next. The file `beside` is
        removed in the end. Django's connection is closed: it stays open until then because a
        position was taken on it, so that `writes_since` gives proof when `before` calls it.
        """
        new, old = self.path_beside(beside), self.path_beside(previous)
        wrapper = connections[self.alias]
        wrapper.ensure_connection()
        try:
            self._swap_under_lock(wrapper.connection, new, old, before)
        except (sqlite3.Error, Stalled, OSError) as error:
            raise RestoreFailed(
                f"{self.path} could not be replaced: {error}. The live database was not "
                "changed. Stop what writes to it, then restore again."
            ) from error
        finally:
            wrapper.close()
        remove(new)

    def repair_swap(self, beside: str, previous: str) -> str:
        """Find out by its pages which database the live file holds, and clean up behind it."""
        new, old = self.path_beside(beside), self.path_beside(previous)
        remove(partial_of(old))
        if new.exists() and holds(self.path, new):
            remove(new)
        if not new.exists():
            return _finished(self.path, old)
        if old.exists() and not holds(self.path, old):
            return f"The live database was written to since; {new} and {old} are kept beside it."
        remove(old)
        return (
            f"The swap had not taken place: {self.path} is the database before the restore. "
            f"What was restored is kept as {new}."
        )

    def local_place(self) -> tuple[str, ...]:
        """Name it by its path."""
        return self.vendor, str(self.path)

    def key(self) -> str:
        """Key it by its path."""
        return database_key(self.vendor, "", str(self.path))

    def drop(self, name: str) -> None:
        """Delete a file beside the live one."""
        path = self.path_beside(name)
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

    def _difference(self, before: Counts | None) -> Counts:
        if before is None:
            return {}
        now = count_rows(connections[self.alias].connection)
        tables = now.keys() | before.keys()
        gained = {table: now.get(table, 0) - before.get(table, 0) for table in tables}
        return {table: rows for table, rows in sorted(gained.items()) if rows}

    def _swap_under_lock(
        self, live: sqlite3.Connection, new: Path, old: Path, before: Callable[[], None]
    ) -> None:
        """Keep the live database and overwrite it without a moment for writers in between."""
        with frozen(new) as source:
            if pragma(live, "journal_mode") == "wal":
                self._refuse_other_pages(pragma(live, "page_size"), pragma(source, "page_size"))
                with connected(self.path) as target:
                    overwrite(target, source, lambda: keep(live, old, before))
            else:
                # Others can neither read nor write from here until this connection is closed.
                lock_out_others(live)
                keep(live, old, before)
                overwrite(live, source, lambda: None)

    def _refuse_other_pages(self, live_bytes: int, beside_bytes: int) -> None:
        if live_bytes != beside_bytes:
            raise RestoreRefused(
                f"The backup has pages of {beside_bytes} bytes and {self.path} of {live_bytes}, "
                "and in WAL mode SQLite cannot change that. The live database was not changed. "
                "Stop everything that uses it, take what switches WAL on out of the settings, and "
                "run this in it; then restore again:\n"
                "    PRAGMA journal_mode = DELETE"
            )

    # The connection that migrates.

    @contextmanager
    def schema_changes_in_transaction(self) -> Iterator[None]:
        """Switch foreign keys off meanwhile: schema editors want it, and it is too late inside."""
        self.connection.disable_constraint_checking()
        try:
            yield
        finally:
            if not self.connection.in_atomic_block:
                self.connection.enable_constraint_checking()

    @property
    def transactions(self) -> SqliteTransactions:
        """What became of transactions of this connection."""
        return SqliteTransactions(self.connection)

    def schema(self) -> Schema:
        """Read the statements that made the objects of the file."""
        return schema.read_schema(self.connection)

    def has_table(self, name: str) -> bool:
        """Whether there is a table of that name."""
        with self.connection.cursor() as cursor:
            return name in self.connection.introspection.table_names(cursor)

    def differs(self, column: str, type_: str) -> str:
        """SQL for whether a column reads other than a parameter of the type."""
        del type_
        return f"{column} COLLATE BINARY <> %s"

    def keep_rows(self, table: str) -> str | None:
        """Copy a table's rows to a kept table and return its name; None if it has no rows."""
        quoted = self.connection.ops.quote_name(table)
        kept = f"{schema.KEPT_PREFIX}{table}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        with self.connection.cursor() as cursor:
            if cursor.execute(f"SELECT 1 FROM {quoted} LIMIT 1").fetchone() is None:
                return None
            target = self.connection.ops.quote_name(kept)
            cursor.execute(f"CREATE TABLE {target} AS SELECT * FROM {quoted}")
        return kept


def _finished(live: Path, old: Path) -> str:
    if old.exists():
        return f"The swap had finished; the database before it is kept as {old}."
    return f"{live} is there, and nothing beside it any more: somebody has removed that since."
