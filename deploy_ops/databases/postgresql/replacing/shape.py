"""What a table is made of, and why rows of a backup cannot be put back into it."""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from deploy_ops.databases.postgresql.replacing.find import PARTITIONED, TABLE, Table, relations_of
from deploy_ops.databases.postgresql.server import Connection, scalar
from deploy_ops.databases.rows import InCommon

COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attgenerated <> '',
        attnotnull AND attidentity = '' AND NOT atthasdef AND typdefault IS NULL,
        atttypid = 'oid'::regtype OR typname = 'lo'
    FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
KEY = """
    SELECT attname FROM pg_index, unnest(indkey) WITH ORDINALITY AS part (number, place)
    JOIN pg_attribute ON attnum = part.number
    WHERE indrelid = %(oid)s AND attrelid = %(oid)s AND indisprimary AND place <= indnkeyatts
    ORDER BY place
"""
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
# Each is true of a table whose rows cannot be put back; with the reason, and what to do.
REFUSALS: tuple[tuple[str, str], ...] = (
    (
        "SELECT relispartition FROM pg_class WHERE oid = %(oid)s",
        "is a partition. Give the whole table with --table",
    ),
    (
        """SELECT EXISTS (SELECT FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
           WHERE %(oid)s IN (inhrelid, inhparent) AND parent.relkind = 'r')""",
        "inherits, or is inherited from, and so its rows are not its own alone. Restore the whole "
        "database, or copy rows by hand from one that is restored with --into",
    ),
    (
        "SELECT EXISTS (SELECT FROM pg_rewrite WHERE ev_class = %(oid)s)",
        "has rules, which write something else than what is put back. Drop them for this restore",
    ),
    (
        "SELECT row_security_active(%(oid)s::oid)",
        "has row level security, which hides rows from this role. Restore as its owner, without "
        "FORCE ROW LEVEL SECURITY, or as a role with BYPASSRLS",
    ),
    (
        "SELECT NOT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = %(oid)s",
        "belongs to another role. Restore as its owner: give it in DEPLOY_OPS_DIRECT_DATABASE_URL",
    ),
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column; a row that lacks `is_needed` ones cannot be inserted."""

    name: str
    type: str
    is_generated: bool
    is_needed: bool
    is_large_object: bool


@dataclass(frozen=True, slots=True)
class Shape(InCommon):
    """A table of the live database and what it has in common with that of the backup."""

    table: Table

    @property
    def notes(self) -> Iterator[str]:
        """What happens to columns that only one side has."""
        return self.notes_of(str(self.table))


def shape_of(live: Connection, beside: Connection, table: Table) -> tuple[Shape, list[str]]:
    """Compare a table with that of the backup; the second is what stands in the way."""
    then = next((each for each in relations_of(beside) if str(each) == str(table)), None)
    if then is None:
        return Shape((), (), (), (), table), [f"{table} is not in the backup."]
    problems = [f"In the backup: {each}" for each in refusals(beside, then)]
    now, before = _columns(live, table), _columns(beside, then)
    shared = tuple(name for name in now if _is_stored(now, name) and _is_stored(before, name))
    added = tuple(name for name in now if _is_stored(now, name) and name not in shared)
    removed = tuple(name for name in before if _is_stored(before, name) and name not in now)
    key = tuple(name for (name,) in live.execute(KEY, {"oid": table.oid}).fetchall())
    shape = Shape(shared, key, added, removed, table)
    needed = {name for name in now if now[name].is_needed}
    problems += [*shape.problems_of(str(table), needed), *_large_objects(shape, now)]
    return shape, problems


def refusals(connection: Connection, table: Table) -> Iterator[str]:
    """Why it is nothing that rows can be put back into."""
    if table.kind not in (TABLE, PARTITIONED):
        yield f"{table} is {KINDS[table.kind]}, and has no rows of its own."
        return
    for query, reason in REFUSALS:
        if scalar(connection, query, {"oid": table.oid}):
            yield f"{table} {reason}."


def _columns(connection: Connection, table: Table) -> dict[str, Column]:
    rows = connection.execute(COLUMNS, [table.oid]).fetchall()
    return {row[0]: Column(*row) for row in rows}


def _is_stored(columns: dict[str, Column], name: str) -> bool:
    return name in columns and not columns[name].is_generated


def _large_objects(shape: Shape, columns: dict[str, Column]) -> Iterator[str]:
    for name in shape.shared:
        if columns[name].is_large_object:
            yield (
                f"{shape.table}.{name} points to large objects, which are not put back with a "
                "table. Restore the whole database."
            )


def names(columns: tuple[str, ...], of: str | None = None) -> sql.Composable:
    """Columns for a statement, of a table there if it is named."""
    parts = [sql.Identifier(of, name) if of else sql.Identifier(name) for name in columns]
    return sql.SQL(", ").join(parts)
