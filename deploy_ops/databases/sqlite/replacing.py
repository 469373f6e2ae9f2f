"""Rows of single tables put back from a file beside, which is attached; and queries on both.

Foreign keys are off meanwhile, so that no row elsewhere goes with one that is replaced, and checked
before the commit. Triggers cannot be turned off in SQLite: they are dropped and made again in the
same transaction.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy_ops.databases.rows import (
    TableDifference,
    refuse,
    require_no_dangling,
    require_same_loss,
)
from deploy_ops.databases.sqlite.copying import connected
from deploy_ops.databases.sqlite.foreign_keys import dangling, new_orphans, orphans
from deploy_ops.databases.sqlite.registered import register
from deploy_ops.databases.sqlite.shape import Shape, quoted, shape_of
from deploy_ops.errors import RestoreFailed

BESIDE = "beside"


@dataclass(slots=True)
class SqliteReplacement:
    """Tables, and the rows that the attached file has for them."""

    live: sqlite3.Connection
    shapes: Sequence[Shape]
    differences: Sequence[TableDifference] = field(init=False)
    notes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.differences = [_difference(self.live, shape) for shape in self.shapes]
        self.notes = [note for shape in self.shapes for note in shape.notes]
        if triggers := [each for shape in self.shapes for each in _triggers(self.live, shape)]:
            self.notes.append(f"Triggers do not fire: {', '.join(name for name, _ in triggers)}.")

    def replace(self, kept: Mapping[str, str], *, is_agreed: bool) -> None:
        """Put the rows back in one transaction; raises RestoreFailed."""
        try:
            self.live.execute("BEGIN IMMEDIATE")
            try:
                self._replace(kept, is_agreed)
                self.live.execute("COMMIT")
            except BaseException:
                if self.live.in_transaction:
                    self.live.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise RestoreFailed(
                f"The rows could not be put back: {error}. Nothing was changed. Stop what writes "
                "to the database, then restore again."
            ) from error

    def _replace(self, kept: Mapping[str, str], is_agreed: bool) -> None:
        now = [_difference(self.live, shape) for shape in self.shapes]
        require_same_loss(now, self.differences, is_agreed)
        before = orphans(self.live)
        triggers = [each for shape in self.shapes for each in _triggers(self.live, shape)]
        for name, _ in triggers:
            self.live.execute(f"DROP TRIGGER main.{quoted(name)}")
        for shape in self.shapes:
            _take_out(self.live, shape, kept[shape.table])
        for shape in self.shapes:
            _put_back(self.live, shape, kept[shape.table])
            _advance(self.live, shape.table)
        for _, statement in triggers:
            self.live.execute(statement)
        found = [*new_orphans(self.live, before, self.shapes)]
        require_no_dangling(found, [shape.table for shape in self.shapes])
        if wrong := [each.table for each in map(self._left, self.shapes) if not each.is_none]:
            raise RestoreFailed(
                f"The rows of {', '.join(wrong)} would not be those of the backup. Nothing was "
                "changed."
            )

    def _left(self, shape: Shape) -> TableDifference:
        return _difference(self.live, shape)


@contextmanager
def replacing(
    live: Path, beside: Path, tables: Sequence[str], alias: str
) -> Iterator[SqliteReplacement]:
    """Attach the file and compare; raises RestoreRefused."""
    with connected(live) as connection:
        register(connection, alias)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(f"ATTACH ? AS {BESIDE}", [f"{beside.as_uri()}?mode=ro&immutable=1"])
        shapes, problems = list[Shape](), list[str]()
        for table in tables:
            shape, found = shape_of(connection, BESIDE, table)
            shapes.append(shape)
            problems += found
        refuse(problems)
        require_no_dangling(dangling(connection, shapes, BESIDE), tables)
        yield SqliteReplacement(connection, shapes)


def _difference(live: sqlite3.Connection, shape: Shape) -> TableDifference:
    """Compare by value and type: SQLite holds 1 and 1.0 for the same."""

    def count(rows: str) -> int:
        return int(live.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])

    if not shape.key:
        more, fewer = (
            count(f"({shape.rows_of(*pair)})") for pair in (("main", BESIDE), (BESIDE, "main"))
        )
        return TableDifference(shape.table, more, 0, fewer, _digest(live, shape, "1"))
    now, then, goes = shape.of("main"), shape.of(BESIDE), shape.goes(BESIDE)
    only_live = count(f"{now} AS live WHERE NOT EXISTS ({shape.same_in(BESIDE)})")
    only_backup = count(f"{then} AS live WHERE NOT EXISTS ({shape.same_in('main')})")
    changed = count(f"{now} AS live WHERE {goes}") - only_live
    return TableDifference(shape.table, only_live, changed, only_backup, _digest(live, shape, goes))


def _digest(live: sqlite3.Connection, shape: Shape, condition: str) -> str:
    """Of the rows that go, in any order."""
    columns = ", ".join(f"live.{quoted(name)}" for name in (*shape.shared, *shape.added))
    rows = live.execute(f"SELECT {columns} FROM {shape.of('main')} AS live WHERE {condition}")
    return str(sum(hash(tuple((type(value), value) for value in row)) for row in rows))


def _take_out(live: sqlite3.Connection, shape: Shape, kept: str) -> None:
    table = shape.of("main")
    goes = shape.goes(BESIDE) if shape.key else str(int(shape.has_difference(live, BESIDE)))
    live.execute(f"CREATE TABLE main.{kept} AS SELECT * FROM {table} AS live WHERE {goes}")
    if not shape.key:
        live.execute(f"DELETE FROM {table} WHERE {goes}")
        return
    same = " AND ".join(f"{table}.{name} = kept.{name}" for name in map(quoted, shape.key))
    live.execute(
        f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM main.{kept} AS kept WHERE {same})"
    )


def _put_back(live: sqlite3.Connection, shape: Shape, kept: str) -> None:
    """Insert the rows of the backup; a changed one keeps what columns since then have."""
    table, source = shape.of("main"), shape.of(BESIDE)
    shared = ", ".join(map(quoted, shape.shared))
    if not shape.key:
        there = f"EXISTS (SELECT 1 FROM {table})"  # none, or all since they are those of the backup
        live.execute(
            f"INSERT INTO {table} ({shared}) SELECT {shared} FROM {source} WHERE NOT {there}"
        )
        return
    if shape.added:
        added = ", ".join(map(quoted, shape.added))
        same = " AND ".join(f"staged.{name} = kept.{name}" for name in map(quoted, shape.key))
        values = ", ".join(f"staged.{quoted(name)}" for name in shape.shared)
        old = ", ".join(f"kept.{quoted(name)}" for name in shape.added)
        live.execute(
            f"INSERT INTO {table} ({shared}, {added}) SELECT {values}, {old}"
            f" FROM {source} AS staged JOIN main.{kept} AS kept ON {same}"
        )
    live.execute(
        f"INSERT INTO {table} ({shared}) SELECT {shared} FROM {source} AS live"
        f" WHERE NOT EXISTS ({shape.same_in('main')})"
    )


def _triggers(live: sqlite3.Connection, shape: Shape) -> list[tuple[str, str]]:
    return live.execute(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND tbl_name = ?",
        [shape.table],
    ).fetchall()


def _advance(live: sqlite3.Connection, table: str) -> None:
    """Take AUTOINCREMENT to where it was at the backup, unless it is further."""
    for schema in ("main", BESIDE):
        found = f"SELECT 1 FROM {schema}.sqlite_master WHERE name = 'sqlite_sequence'"
        if live.execute(found).fetchone() is None:
            return
    then = f"SELECT max(seq) FROM {BESIDE}.sqlite_sequence WHERE name = ?"
    live.execute(
        f"UPDATE main.sqlite_sequence SET seq = max(seq, coalesce(({then}), seq)) WHERE name = ?",
        [table, table],
    )
