"""Ranges of keys, and the statements about one; built without a database.

A key is a list of texts, one a column, as PostgreSQL writes them: so that every type is kept alike
in the progress, and read back by a cast. Rows are compared as rows, `(a, b) > (1, 2)`, which an
index over (a, b) answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy_ops.phases.backfill.filling import ALL_ROWS, Computed, Filling, Sql

Key = list[str]


@dataclass(frozen=True, slots=True)
class Range:
    """Keys after `lower` (None: from the first on) up to `upper`, that included."""

    lower: Key | None
    upper: Key

    def __str__(self) -> str:
        first = f"after {', '.join(self.lower)} " if self.lower else ""
        return f"{first}up to {', '.join(self.upper)}"


@dataclass(frozen=True, slots=True)
class Statements:
    """The SQL of one filling; `types` has the type of each column that is compared or written."""

    filling: Filling
    types: Mapping[str, str]
    quote: Callable[[str], str]

    def last_key(self) -> Sql:
        """The greatest key of the table."""
        order = ", ".join(f"{column} DESC" for column in self._columns)
        return Sql(f"SELECT {self._key_texts} FROM {self._table} ORDER BY {order} LIMIT 1")

    def nth_key(self, within: Range, number: int) -> Sql:
        """The key of the n-th row of a range; no row if it has fewer."""
        held = self._within(within)
        return Sql(
            f"SELECT {self._key_texts} FROM {self._table} WHERE {held.text} "
            f"ORDER BY {self._key_list} LIMIT 1 OFFSET {number - 1}",
            held.params,
        )

    def count(self, within: Range) -> Sql:
        """How many rows a range has."""
        held = self._within(within)
        return Sql(f"SELECT count(*) FROM {self._table} WHERE {held.text}", held.params)

    def update(self, within: Range) -> Sql:
        """Write the rows of a range from expressions."""
        assert isinstance(self.filling.assignments, Mapping)
        parts = [
            Sql(f"{self.quote(column)} = {value.text}", value.params)
            for column, value in self.filling.assignments.items()
        ]
        assigned, chosen = Sql.join(", ", parts), self._chosen(within)
        return Sql(
            f"UPDATE {self._table} SET {assigned.text} WHERE {chosen.text}",
            assigned.params + chosen.params,
        )

    def select(self, within: Range) -> Sql:
        """Read and lock the rows of a range, for values from Python."""
        chosen = self._chosen(within)
        return Sql(
            f"SELECT * FROM {self._table} WHERE {chosen.text} ORDER BY {self._key_list} "
            "FOR NO KEY UPDATE",
            chosen.params,
        )

    def write(self, columns: tuple[list[Any], ...]) -> Sql:
        """Write values from Python: an array of each key column, then of each written one."""
        assert isinstance(self.filling.assignments, Computed)
        keys, written = self.filling.key_columns, self.filling.assignments.columns
        names = [f"c{number}" for number in range(len(keys) + len(written))]
        arrays = ", ".join(f"%s::{self._array(column)}" for column in keys + written)
        assigned = ", ".join(
            f"{self.quote(column)} = {self._cast(f'given.{name}', column)}"
            for column, name in zip(written, names[len(keys) :])
        )
        matched = " AND ".join(
            f"{column} = given.{name}" for column, name in zip(self._columns, names)
        )
        return Sql(
            f"UPDATE {self._table} SET {assigned} "
            f"FROM unnest({arrays}) AS given({', '.join(names)}) WHERE {matched}",
            columns,
        )

    def is_array(self, column: str) -> bool:
        """Whether a column holds arrays, which unnest would take apart: they travel as texts."""
        return self.types[column].endswith("[]")

    def _array(self, column: str) -> str:
        return "text[]" if self.is_array(column) else f"{self.types[column]}[]"

    def _cast(self, value: str, column: str) -> str:
        return f"{value}::{self.types[column]}" if self.is_array(column) else value

    def _chosen(self, within: Range) -> Sql:
        held = self._within(within)
        if self.filling.where == ALL_ROWS:
            return held
        where = self.filling.where
        return Sql(f"{held.text} AND ({where.text})", held.params + where.params)

    def _within(self, within: Range) -> Sql:
        upper = Sql(f"({self._key_list}) <= {self._bound}", tuple(within.upper))
        if within.lower is None:
            return upper
        lower = Sql(f"({self._key_list}) > {self._bound}", tuple(within.lower))
        return Sql.join(" AND ", (lower, upper))

    @property
    def _bound(self) -> str:
        casts = ", ".join(f"%s::{self.types[column]}" for column in self.filling.key_columns)
        return f"({casts})"

    @property
    def _table(self) -> str:
        return self.quote(self.filling.table)

    @property
    def _keys(self) -> list[str]:
        return [self.quote(column) for column in self.filling.key_columns]

    @property
    def _columns(self) -> list[str]:
        """With their table: a bare name in ORDER BY would mean the text that is selected."""
        return [f"{self._table}.{column}" for column in self._keys]

    @property
    def _key_list(self) -> str:
        return ", ".join(self._columns)

    @property
    def _key_texts(self) -> str:
        return ", ".join(f"{column}::text" for column in self._columns)
