"""Rows of the backup brought into the session that puts them back, and compared on arrival.

They travel as COPY's text, as pg_dump's do: a type that has changed takes what it can read, and the
comparison shows whether it reads the same. A temporary table ends with its session, so that a kill
leaves nothing of it.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from deploy_ops.databases.postgresql.materialized_views import TEXT
from deploy_ops.databases.postgresql.replacing.shape import Shape, names
from deploy_ops.databases.postgresql.server import Connection
from deploy_ops.databases.postgresql.tables import without_timeouts
from deploy_ops.databases.rows import TableDifference
from deploy_ops.errors import RestoreFailed, RestoreRefused
from deploy_ops.redact import error_text

DIGEST = """
    SELECT count(*), coalesce(sum(('x' || left(md5({row}::text), 16))::bit(64)::bigint), 0)::text
    FROM {table}
"""
# Of rows by their bytes, since not every type has an equality, and in some 1.0 equals 1.00.
_BY_KEY = """
    SELECT count(*) FILTER (WHERE {staged_key} IS NULL),
        count(*) FILTER (WHERE {live_key} IS NOT NULL AND {staged_key} IS NOT NULL),
        count(*) FILTER (WHERE {live_key} IS NULL),
        coalesce(sum(('x' || left(md5(live.*::text), 16))::bit(64)::bigint)
            FILTER (WHERE {live_key} IS NOT NULL), 0)::text
    FROM {table} AS live FULL JOIN {staged} AS staged ON {same_key}
    WHERE {live_key} IS NULL OR {staged_key} IS NULL OR {differs}
"""
_BY_ROW = """
    SELECT (SELECT count(*) FROM (SELECT {row}::text FROM {table}
            EXCEPT ALL SELECT {row}::text FROM {staged}) AS more), 0,
        (SELECT count(*) FROM (SELECT {row}::text FROM {staged}
            EXCEPT ALL SELECT {row}::text FROM {table}) AS more),
        (SELECT coalesce(sum(('x' || left(md5(live.*::text), 16))::bit(64)::bigint), 0)::text
            FROM {table} AS live)
"""


@dataclass(frozen=True, slots=True)
class Staged:
    """A table, and the temporary one with the rows that the backup has for it."""

    shape: Shape
    name: sql.Identifier

    @property
    def row(self) -> sql.Composable:
        """The columns that are put back, as one value."""
        return sql.SQL("ROW({})").format(names(self.shape.shared))

    def same_key(self, one: str, other: str) -> sql.Composable:
        """Condition that two rows have one primary key."""
        pairs = [
            sql.SQL("{} = {}").format(sql.Identifier(one, name), sql.Identifier(other, name))
            for name in self.shape.key
        ]
        return sql.SQL(" AND ").join(pairs)

    @property
    def differs(self) -> sql.Composable:
        """Condition that `live` and `staged` are not the same to the byte."""
        return sql.SQL("ROW({})::record *<> ROW({})::record").format(
            names(self.shape.shared, "live"), names(self.shape.shared, "staged")
        )

    def difference(self, live: Connection) -> TableDifference:
        """Compare the live rows with those of the backup."""
        table = self.shape.table
        if not self.shape.key:
            query = sql.SQL(_BY_ROW).format(row=self.row, table=table.sql, staged=self.name)
        else:
            query = sql.SQL(_BY_KEY).format(
                table=table.sql,
                staged=self.name,
                live_key=sql.Identifier("live", self.shape.key[0]),
                staged_key=sql.Identifier("staged", self.shape.key[0]),
                same_key=self.same_key("live", "staged"),
                differs=self.differs,
            )
        [row] = live.execute(query).fetchall()
        return TableDifference(str(table), *row)


def prepare_session(connection: Connection) -> None:
    """All rows or an error, for as long as it takes, and one text for one value."""
    without_timeouts(connection)
    connection.execute("SET row_security = off")
    for name, value in TEXT.items():
        if name != "search_path":  # what the tables' own expressions may need
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])


def stage(live: Connection, beside: Connection, shape: Shape, number: int) -> Staged:
    """Copy the rows of one table; raises RestoreRefused where the table cannot take them."""
    staged = Staged(shape, sql.Identifier("pg_temp", f"deploy_ops_staged_{number}"))
    columns, table = names(shape.shared), shape.table.sql
    try:
        live.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
                sql.Identifier(f"deploy_ops_staged_{number}"), columns, table
            )
        )
        out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(columns, table)
        into = sql.SQL("COPY {} FROM STDIN").format(staged.name)
        with beside.cursor().copy(out) as source, live.cursor().copy(into) as target:
            for block in source:
                target.write(block)
        if shape.key:
            key = sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})")
            live.execute(key.format(staged.name, names(shape.key)))
        live.execute(sql.SQL("ANALYZE {}").format(staged.name))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise RestoreRefused(
            f"{shape.table} cannot take the rows of the backup: {error_text(error)}\n"
            "Nothing was changed. Restore the whole database, or copy rows by hand from one that "
            "is restored with --into."
        ) from error
    _require_same(staged, live, beside)
    return staged


def _require_same(staged: Staged, live: Connection, beside: Connection) -> None:
    """Count and hash on both sides; a type that has become narrower shows here too."""
    table = staged.shape.table

    def digest(connection: Connection, of: sql.Identifier) -> object:
        return connection.execute(sql.SQL(DIGEST).format(row=staged.row, table=of)).fetchone()

    if digest(beside, table.sql) != digest(live, staged.name):
        raise RestoreFailed(
            f"The rows of {table} are not the same in the live database as in the backup: a type "
            "of a column has changed since, and reads their values otherwise. Nothing was "
            "changed. Restore the whole database, or copy rows by hand from one that is restored "
            "with --into."
        )
