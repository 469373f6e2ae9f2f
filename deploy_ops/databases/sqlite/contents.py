"""What is in a SQLite database: rows, sequences, migrations, and whether it is whole."""

import sqlite3
from pathlib import Path
from typing import Any

from deploy_ops.databases.base import Counts
from deploy_ops.databases.sqlite.registered import REGISTER, is_missing, reading_copy
from deploy_ops.errors import BackupCorrupt, BackupError

NUMBERED = """
    SELECT name, max(seq) FROM sqlite_sequence
    WHERE typeof(name) = 'text' AND typeof(seq) = 'integer' GROUP BY name ORDER BY name
"""


def count_rows(connection: sqlite3.Connection) -> Counts:
    quoted = {table: table.replace('"', '""') for table in _tables(connection)}
    return {
        table: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        for table, name in quoted.items()
    }


def read_sequences(connection: sqlite3.Connection) -> Counts:
    """Those that are numbers: anybody may write anything there, and the copy has it as it is."""
    found = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
    if not connection.execute(found).fetchone()[0]:
        return {}
    return dict(connection.execute(NUMBERED))


def read_migrations(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    if "django_migrations" not in _tables(connection):
        return []
    return connection.execute("SELECT app, name FROM django_migrations ORDER BY id").fetchall()


def find_orphans(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("PRAGMA foreign_key_check").fetchall()


def check_integrity(path: Path, alias: str) -> None:
    """Let SQLite check a copy; raises BackupCorrupt, and BackupError where it could not."""
    try:
        with reading_copy(path, alias) as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.Error as error:
        if is_missing(error):
            raise BackupError(
                f"{path.name} could not be checked: {error}. That says nothing about its contents. "
                f"The database was not changed. {REGISTER}"
            ) from error
        problems = [str(error)]
    if problems != ["ok"]:
        raise BackupCorrupt(f"{path.name} is damaged, says SQLite: {'; '.join(problems)}.")


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [name for (name,) in rows]
