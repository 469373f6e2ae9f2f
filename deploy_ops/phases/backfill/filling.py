"""What a backfill writes, as a value: the table, its key, the columns and where they come from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sql:
    """A part of a statement with its parameters, as `cursor.execute` takes it: `%` is `%%`."""

    text: str
    params: tuple[Any, ...] = ()

    @classmethod
    def plain(cls, text: str) -> "Sql":
        """SQL without parameters, in which `%` stands for itself."""
        return cls(text.replace("%", "%%"))

    @classmethod
    def join(cls, separator: str, parts: Iterable["Sql"]) -> "Sql":
        """Several parts as one."""
        given = tuple(parts)
        params = tuple(param for part in given for param in part.params)
        return cls(separator.join(part.text for part in given), params)


ALL_ROWS = Sql("TRUE")


@dataclass(frozen=True, slots=True)
class Computed:
    """Values that Python computes, one batch at a time.

    `compute` gets the SELECT of one batch, which locks its rows, and returns for each row its key
    followed by the new values of `columns`, ready for the database.
    """

    columns: tuple[str, ...]
    compute: Callable[[Sql], Iterable[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Filling:
    """Which columns of which rows get which values; names are as in the catalog, unquoted.

    `key_columns` is the primary key, or other columns that are unique, NOT NULL and indexed in
    this order. `assignments` are SQL expressions by column, which may name columns of the table,
    or values from Python. Each row that is there at the start, and that `where` holds for when its
    batch comes, is written once.
    """

    table: str
    key_columns: tuple[str, ...]
    assignments: Mapping[str, Sql] | Computed
    where: Sql = ALL_ROWS

    @classmethod
    def of_column(cls, model: Any, column: str, value: str, where: str) -> "Filling":
        """One column of a model's table, by SQL without parameters."""
        return cls(
            table=str(model._meta.db_table),
            key_columns=key_columns(model),
            assignments={column: Sql.plain(value)},
            where=Sql.plain(where),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are written."""
        if isinstance(self.assignments, Computed):
            return self.assignments.columns
        return tuple(self.assignments)

    def __str__(self) -> str:
        return f"{self.table} ({', '.join(self.columns)})"


def key_columns(model: Any) -> tuple[str, ...]:
    """The columns of a model's primary key."""
    return tuple(str(field.column) for field in model._meta.pk_fields)
