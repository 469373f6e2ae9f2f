"""What a table has in common with that of a backup, and how rows of both are compared."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from deploy_ops.databases.rows import InCommon

GENERATED = (2, 3)  # hidden columns of PRAGMA table_xinfo: virtual, stored
KIND = "SELECT type, sql FROM {schema}.sqlite_master WHERE name = ? AND type IN ('table', 'view')"


def quoted(name: str) -> str:
    """A name for a statement."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Shape(InCommon):
    """A table of the live database and what it has in common with that of the backup."""

    table: str

    @property
    def notes(self) -> Iterator[str]:
        """What happens to columns that only one side has."""
        return self.notes_of(self.table)

    def of(self, schema: str) -> str:
        """The table of the live database (main) or of the attached one."""
        return f"{schema}.{quoted(self.table)}"

    def same_in(self, schema: str) -> str:
        """Query for the row of the same primary key as `live`."""
        pairs = (f"other.{name} = live.{name}" for name in map(quoted, self.key))
        return f"SELECT 1 FROM {self.of(schema)} AS other WHERE {' AND '.join(pairs)}"

    def goes(self, schema: str) -> str:
        """Condition that `live` has no equal there: by key, value and type of each column."""
        equal = (
            f"typeof(other.{name}) = typeof(live.{name})"
            f" AND other.{name} IS live.{name} COLLATE BINARY"
            for name in map(quoted, self.shared)
        )
        return f"NOT EXISTS ({self.same_in(schema)} AND {' AND '.join(equal)})"

    def rows_of(self, one: str, other: str) -> str:
        """Query for what a table without a key has in one and not in the other, as often."""
        columns = ", ".join(f"typeof({name}), {name}" for name in map(quoted, self.shared))
        number = f"row_number() OVER (PARTITION BY {columns})"
        return " EXCEPT ".join(
            f"SELECT {columns}, {number} FROM {self.of(schema)}" for schema in (one, other)
        )

    def has_difference(self, live: sqlite3.Connection, schema: str) -> bool:
        """Whether a table without a key has other rows there."""
        pairs = (("main", schema), (schema, "main"))
        return any(live.execute(f"{self.rows_of(*pair)} LIMIT 1").fetchone() for pair in pairs)


def shape_of(live: sqlite3.Connection, schema: str, table: str) -> tuple[Shape, list[str]]:
    """Compare a table with that of the attached database; the second is what stands in the way."""
    problems = [f"In the backup: {each}" for each in refusals(live, schema, table)]
    now, before = _columns(live, "main", table), _columns(live, schema, table)
    shared = tuple(name for name in now if name in before)
    added = tuple(name for name in now if name not in before)
    key = tuple(name for name, (_, place) in sorted(now.items(), key=lambda i: i[1][1]) if place)
    removed = tuple(name for name in before if name not in now)
    shape = Shape(shared, key, added, removed, table)
    needed = {name for name, (is_needed, _) in now.items() if is_needed}
    return shape, [*problems, *shape.problems_of(table, needed)]


def refusals(live: sqlite3.Connection, schema: str, table: str) -> Iterator[str]:
    """Why it is nothing that rows can be put back into."""
    kind, statement = live.execute(KIND.format(schema=schema), [table]).fetchone()
    if kind == "view":
        yield f"{table} is a view, and has no rows of its own."
    elif statement.upper().startswith("CREATE VIRTUAL"):
        yield f"{table} is a virtual table, which writes its rows itself."


def _columns(live: sqlite3.Connection, schema: str, table: str) -> dict[str, tuple[bool, int]]:
    """Each stored column: whether a row cannot be without it, and its place in the primary key."""
    rows = live.execute(f"PRAGMA {schema}.table_xinfo({quoted(table)})").fetchall()
    return {
        name: (bool(notnull) and default is None and not key, key)
        for _, name, _, notnull, default, key, hidden in rows
        if hidden not in GENERATED
    }
