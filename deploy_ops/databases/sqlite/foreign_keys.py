"""Foreign keys of tables whose rows are put back, in both directions."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy_ops.databases.rows import SHOWN_KEYS, Dangling
from deploy_ops.databases.sqlite.shape import Shape, quoted

TABLES = """
    SELECT name FROM main.sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'
    AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name
"""
Orphans = Counter[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One foreign key: its number in the child, and the columns of both tables."""

    child: str
    number: int
    parent: str
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]


def foreign_keys(live: sqlite3.Connection, shapes: Sequence[Shape]) -> list[ForeignKey]:
    """All that point into the tables or out of them."""
    tables = {shape.table.lower() for shape in shapes}
    return [
        key
        for (child,) in live.execute(TABLES).fetchall()
        for key in _keys_of(live, child)
        if key.parent.lower() in tables or child.lower() in tables
    ]


def dangling(live: sqlite3.Connection, shapes: Sequence[Shape], beside: str) -> list[Dangling]:
    """Rows of the backup that point to nothing, and rows elsewhere that the backup leaves alone."""
    by_name = {shape.table.lower(): shape for shape in shapes}
    found = []
    for key in foreign_keys(live, shapes):
        child, parent = by_name.get(key.child.lower()), by_name.get(key.parent.lower())
        if child and not {*key.columns} <= {*child.shared}:
            continue  # a column that the backup does not have: the check before the commit decides
        if parent and not {*key.parent_columns} <= {*parent.shared}:
            continue
        places = (beside if child else "main", beside if parent else "main")
        if rows := _pointing_to_nothing(live, key, *places):
            columns = ", ".join(key.columns)
            shown = tuple(sorted({*rows}, key=lambda value: (len(value), value))[:SHOWN_KEYS])
            found.append(
                Dangling(key.child, columns, key.parent, len(rows), shown, child is not None)
            )
    return found


def orphans(live: sqlite3.Connection) -> Orphans:
    """How many rows of the live database point to nothing, by child, parent and foreign key."""
    found = live.execute("PRAGMA main.foreign_key_check").fetchall()
    return Counter((child, parent, number) for child, _, parent, number in found)


def new_orphans(
    live: sqlite3.Connection, before: Orphans, shapes: Sequence[Shape]
) -> Iterator[Dangling]:
    """Those that there are more of now, without values of rows."""
    tables = {shape.table for shape in shapes}
    for (child, parent, number), rows in (orphans(live) - before).items():
        columns = [", ".join(k.columns) for k in _keys_of(live, child) if k.number == number]
        yield Dangling(child, "".join(columns), parent, rows, (), child in tables)


def _keys_of(live: sqlite3.Connection, child: str) -> list[ForeignKey]:
    rows = live.execute(f"PRAGMA main.foreign_key_list({quoted(child)})").fetchall()
    found = []
    for number in sorted({row[0] for row in rows}):
        parts = sorted((row for row in rows if row[0] == number), key=lambda row: row[1])
        parent, columns = parts[0][2], tuple(row[3] for row in parts)
        to = tuple(row[4] for row in parts)
        found.append(
            ForeignKey(child, number, parent, columns, _key_of(live, parent) if None in to else to)
        )
    return found


def _key_of(live: sqlite3.Connection, table: str) -> tuple[str, ...]:
    rows = live.execute(f"PRAGMA main.table_info({quoted(table)})").fetchall()
    return tuple(row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5])


def _pointing_to_nothing(
    live: sqlite3.Connection, key: ForeignKey, child: str, parent: str
) -> list[str]:
    pairs = list(zip(key.columns, key.parent_columns, strict=False))
    same = " AND ".join(f"parent.{quoted(to)} = child.{quoted(name)}" for name, to in pairs)
    given = " AND ".join(f"child.{quoted(name)} IS NOT NULL" for name in key.columns)
    value = " || ', ' || ".join(f"child.{quoted(name)}" for name in key.columns)
    rows = live.execute(
        f"SELECT CAST({value} AS text) FROM {child}.{quoted(key.child)} AS child WHERE {given} AND"
        f" NOT EXISTS (SELECT 1 FROM {parent}.{quoted(key.parent)} AS parent WHERE {same})"
    )
    return [text for (text,) in rows]
