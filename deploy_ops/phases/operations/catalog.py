"""What the catalog of PostgreSQL says of a table, before something is done to it again."""

import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import split_identifier

POLL_SECONDS = 0.5
# PostgreSQL cuts names to 63 bytes, and so does the cast to `name`.
_INDEX = """
    SELECT indisvalid AND indisready AND indislive,
        EXISTS (SELECT FROM pg_stat_progress_create_index AS build
            WHERE build.index_relid = indexrelid OR EXISTS (SELECT FROM pg_locks AS lock
                WHERE lock.pid = build.pid AND lock.relation = indrelid AND lock.granted))
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
    WHERE indrelid = to_regclass(%s) AND index.relname = %s::name
"""
_CONSTRAINT = """
    SELECT convalidated FROM pg_constraint
    WHERE conrelid = to_regclass(%s) AND conname = %s::name
"""
_COLUMN = """
    SELECT attnotnull FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attname = %s::name AND NOT attisdropped
"""
_RELATION = "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)"
_TAKEN_RELATION = """
    SELECT EXISTS (SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid
        WHERE i.indexrelid = c.oid AND i.indrelid = t.oid AND i.indisunique
            AND a.attname = %s::name AND a.attnum::text = i.indkey::text)
    FROM pg_class AS t JOIN pg_class AS c ON c.relnamespace = t.relnamespace
    WHERE t.oid = to_regclass(%s) AND c.relname = %s::name
"""
_TAKEN_CONSTRAINT = """
    SELECT bool_or(c.conrelid = t.oid AND c.contype = %s AND c.conkey = ARRAY(
        SELECT attnum FROM pg_attribute WHERE attrelid = t.oid AND attname = %s::name))
    FROM pg_class AS t JOIN pg_constraint AS c ON c.connamespace = t.relnamespace
    WHERE t.oid = to_regclass(%s) AND c.conname = %s::name HAVING count(*) > 0
"""


class Found(Enum):
    """What there is of an index."""

    NOTHING = "nothing"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Questions about one table, by its name as in `db_table`."""

    connection: BaseDatabaseWrapper
    table: str

    def index(self, name: str) -> Found:
        """Look for an index; one that somebody else is building is waited for."""
        while (row := self._row(_INDEX, name)) is not None:
            is_valid, is_being_built = row
            if is_valid:
                return Found.VALID
            if not is_being_built:
                return Found.INVALID
            time.sleep(POLL_SECONDS)
        return Found.NOTHING

    def is_validated(self, constraint: str) -> bool | None:
        """Whether a constraint holds for the rows that were there before it; None without it."""
        row = self._row(_CONSTRAINT, constraint)
        return None if row is None else bool(row[0])

    def is_not_null(self, column: str) -> bool | None:
        """Whether a column is NOT NULL; None if there is none of that name."""
        row = self._row(_COLUMN, column)
        return None if row is None else bool(row[0])

    def kind(self) -> str | None:
        """The kind of relation as the catalog has it: r, p, v; None if there is none."""
        row = self._row(_RELATION)
        return None if row is None else str(row[0])

    def exists(self) -> bool:
        """Whether there is such a table."""
        return self.kind() is not None

    def is_partitioned(self) -> bool:
        """Whether the rows are kept in partitions."""
        return self.kind() == "p"

    def automatic_name(self, column: str, label: str) -> str:
        """The name that PostgreSQL gives to what is written into the definition of a column.

        As ChooseIndexName and ChooseConstraintName do: `_key`, `_key1` and so on, the first that is
        free. One that is on this column already is ours, from a run that was killed.
        """
        number = 0
        while True:
            name = object_name(split_identifier(self.table)[1], column, label, number)
            taken = self._taken(column, label, name)
            if all(is_ours for is_ours in taken):
                return name
            number += 1

    def _taken(self, column: str, label: str, name: str) -> list[bool]:
        """For each thing that has the name already, whether it is ours."""
        quoted = self.connection.ops.quote_name(self.table)
        kind = "u" if label == "key" else "c"
        questions = [(_TAKEN_CONSTRAINT, [kind, column, quoted, name])]
        if label == "key":
            questions.append((_TAKEN_RELATION, [column, quoted, name]))
        found = []
        with self.connection.cursor() as cursor:
            for sql, params in questions:
                cursor.execute(sql, params)
                found += [bool(is_ours) for (is_ours,) in cursor.fetchall()]
        return found

    def _row(self, sql: str, *names: str) -> tuple[Any, ...] | None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [self.connection.ops.quote_name(self.table), *names])
            row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def object_name(table: str, column: str, label: str, number: int = 0) -> str:
    """As PostgreSQL's makeObjectName: the longer of both names is cut until all fits 63 bytes."""
    ending = f"_{label}{number or ''}"
    names = [table.encode(), column.encode()]
    lengths = [len(name) for name in names]
    while sum(lengths) + 1 + len(ending) > 63:
        lengths[0 if lengths[0] > lengths[1] else 1] -= 1
    cut = [name[:length].decode(errors="ignore") for name, length in zip(names, lengths)]
    return f"{cut[0]}_{cut[1]}{ending}"
