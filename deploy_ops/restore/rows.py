"""What a query answers on the live database and on a restored backup, compared.

Both answers go to a temporary SQLite database, which lies on disk and has no name any more once it
is open: memory stays flat, and a kill leaves nothing.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from deploy_ops.backup.entry import Backup
from deploy_ops.databases.rows import Query, Row
from deploy_ops.errors import RestoreFailed, RestoreRefused
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent
from deploy_ops.restore.job import RestoreJob
from deploy_ops.restore.beside import restored_to_look_at

SHOWN = 100


@dataclass(frozen=True, slots=True)
class Changed:
    """A row of one primary key, as it was and as it is."""

    backup: Row
    live: Row


@dataclass(frozen=True, slots=True)
class RowsDifference:
    """What differs: whole numbers, and the first rows of each kind.

    `key` names the columns of the primary key; without it a changed row is one of each side.
    """

    columns: Sequence[str]
    key: Sequence[str]
    same: int
    only_backup: int
    only_live: int
    changed: int
    rows_only_backup: Sequence[Row]
    rows_only_live: Sequence[Row]
    rows_changed: Sequence[Changed]


def compare_query(  # pylint: disable=too-many-arguments  # each a different caller's need
    backup: Backup,
    query: str,
    *,
    alias: str,
    lock: DeployLock,
    jobs: int = 2,
    progress: Progress = Silent(),
) -> RowsDifference:
    """Restore a backup beside, run the query there and on the live database, and drop it again.

    Both can only read. Raises RestoreRefused, RestoreFailed, BackupCorrupt, BackupUntrusted.
    """
    job = RestoreJob(backup, alias, lock, jobs, progress)
    live = job.database.identify().name
    with job.database.querying(live, query):
        pass  # what is no query is refused before the backup is restored
    with restored_to_look_at(job) as marker, closing(sqlite3.connect("")) as scratch:
        with job.database.querying(marker.restoring.beside, query) as then:
            with job.database.querying(live, query) as now:
                if [*then.columns] != [*now.columns]:
                    raise RestoreRefused(
                        f"The query answers {', '.join(now.columns)} on the live database and "
                        f"{', '.join(then.columns)} on the backup. Nothing was changed. Name its "
                        "columns."
                    )
                return _difference(scratch, then, now)


def _difference(scratch: sqlite3.Connection, then: Query, now: Query) -> RowsDifference:
    try:
        return _compared(scratch, [*now.columns], _read(scratch, then, now))
    except sqlite3.Error as error:
        raise RestoreFailed(
            f"The answers could not be compared in a temporary file: {error}. Nothing was changed. "
            "It lies where TMPDIR says, and takes as much space as both answers."
        ) from error


def _read(scratch: sqlite3.Connection, then: Query, now: Query) -> tuple[int, ...]:
    """Fill the two tables; returns the key, if it names rows on both sides."""
    key = tuple(now.key) if now.key == then.key else ()
    for table, query in (("backup", then), ("live", now)):
        scratch.execute(f"CREATE TABLE {table}_read (key TEXT, row TEXT)")
        rows = (
            (json.dumps([row[place] for place in key]), json.dumps(row)) for row in query.rows()
        )
        scratch.executemany(f"INSERT INTO {table}_read VALUES (?, ?)", rows)
    twice = "SELECT 1 FROM {}_read GROUP BY key HAVING count(*) > 1 LIMIT 1"
    if any(scratch.execute(twice.format(table)).fetchone() for table in ("backup", "live")):
        key = ()
    # Without a key equal rows are told apart by a number.
    named = "key" if key else "row || row_number() OVER (PARTITION BY row)"
    for table in ("backup", "live"):
        scratch.execute(f"CREATE TABLE {table} AS SELECT {named} AS key, row FROM {table}_read")
        scratch.execute(f"CREATE INDEX {table}_key ON {table} (key)")
    return key


def _compared(
    scratch: sqlite3.Connection, columns: list[str], key: tuple[int, ...]
) -> RowsDifference:
    missing = "SELECT row FROM {} AS one WHERE NOT EXISTS (SELECT 1 FROM {} WHERE key = one.key)"
    backup, live = missing.format("backup", "live"), missing.format("live", "backup")
    both = "SELECT backup.row, live.row FROM backup JOIN live ON live.key = backup.key WHERE "
    changed = f"{both} backup.row <> live.row"
    return RowsDifference(
        columns=columns,
        key=[columns[place] for place in key],
        same=_count(scratch, f"{both} backup.row = live.row"),
        only_backup=_count(scratch, backup),
        only_live=_count(scratch, live),
        changed=_count(scratch, changed),
        rows_only_backup=[row for row, in _first(scratch, backup)],
        rows_only_live=[row for row, in _first(scratch, live)],
        rows_changed=[Changed(*pair) for pair in _first(scratch, changed)],
    )


def _count(scratch: sqlite3.Connection, query: str) -> int:
    return int(scratch.execute(f"SELECT count(*) FROM ({query})").fetchone()[0])


def _first(scratch: sqlite3.Connection, query: str) -> Iterator[tuple[Row, ...]]:
    for texts in scratch.execute(f"{query} LIMIT {SHOWN}"):
        yield tuple(tuple(json.loads(text)) for text in texts)
