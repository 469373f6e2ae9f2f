"""Rows of a restored database beside, and of the live one: compared, and put back table by table.

The second half of the contract in base.py, for `restore --table` and `restore --rows`.
"""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from deploy_ops.advice import manage
from deploy_ops.databases.values import Counts
from deploy_ops.errors import RestoreFailed, RestoreRefused, UsageError

Row = tuple[str | None, ...]
SHOWN_KEYS = 20
SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What putting the rows of a backup back does to one table.

    `only_live` rows are taken out, `changed` ones get the values of the backup, `only_backup` come
    back. `digest` is of the rows that are taken out or changed, as they are in the live database.
    """

    table: str
    only_live: int
    changed: int
    only_backup: int
    digest: str

    @property
    def is_none(self) -> bool:
        """Whether the table has the rows of the backup."""
        return not (self.only_live or self.changed or self.only_backup)


@dataclass(frozen=True, slots=True)
class Dangling:
    """Rows that would point to nothing, by one foreign key; `keys` are the first of the values.

    They are rows of the backup if `is_restored`, else rows elsewhere in the live database. Without
    keys they are told to the audit, which has no values of rows.
    """

    child: str
    columns: str
    parent: str
    rows: int
    keys: tuple[str, ...]
    is_restored: bool

    def __str__(self) -> str:
        more = ", ..." if self.rows > len(self.keys) >= SHOWN_KEYS else ""
        keys = f", to {', '.join(self.keys)}{more}" if self.keys else ""
        number = "1 row" if self.rows == 1 else f"{self.rows} rows"
        if self.is_restored:
            return (
                f"{self.child} ({self.columns}): {number} of the backup{keys}, which {self.parent} "
                "does not have"
            )
        return (
            f"{self.child} ({self.columns}): {number}{keys}, which {self.parent} does not have in "
            "the backup"
        )


@dataclass(frozen=True, slots=True)
class InCommon:
    """The stored columns of a table and of the one in the backup, by name.

    `shared` are the columns that are put back, `key` those of the primary key, `added` what came
    since the backup, `removed` what went.
    """

    shared: tuple[str, ...]
    key: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def notes_of(self, table: str) -> Iterator[str]:
        """What happens to columns that only one side has."""
        if self.added:
            yield (
                f"{table}: the backup does not have {', '.join(self.added)}; rows that come back "
                "get the default there."
            )
        if self.removed:
            yield (
                f"{table}: {', '.join(self.removed)} of the backup is not in the table any more, "
                "and is left out."
            )
        if not self.key:
            yield f"{table} has no primary key: where rows differ, all of them are replaced."

    def problems_of(self, table: str, needed: Container[str]) -> Iterator[str]:
        """Why rows of the backup are none for this table; a row must have the `needed` columns."""
        for name in self.added:
            if name in needed:
                yield (
                    f"{table}.{name} came after the backup, takes no NULL and has no default, so "
                    "that rows of the backup have no value for it. Give it a default for this "
                    "restore."
                )
        if missing := [name for name in self.key if name not in self.shared]:
            yield (
                f"The primary key of {table} has {', '.join(missing)}, which the backup does not "
                "have as a stored column, so that its rows cannot be told apart."
            )
        if not self.shared:
            yield f"{table} has no stored column in common with the backup."


class Replacement(Protocol):
    """Tables of the live database, and what the backup has for them, side by side."""

    @property
    def differences(self) -> Sequence[TableDifference]:
        """What putting the rows back does to each table, when it was last looked at."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person has to know or to do besides; a sentence each."""

    def replace(self, kept: Mapping[str, str], *, is_agreed: bool) -> None:
        """Put the rows back, in one transaction that keeps what it takes out.

        `kept` names the new table for each table. Where the rows that go are other ones than in
        `differences`, it stops unless that `is_agreed`. Raises RestoreRefused, RestoreFailed;
        DatabaseUnavailable if the connection was lost, and it is not known what came of it.
        """


class Query(Protocol):
    """What a query answers: its columns, those of them that name a row, and the rows as text."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""

    @property
    def key(self) -> Sequence[int]:
        """Positions of the columns of the primary keys of what is read; none if one is missing."""

    def rows(self) -> Iterator[Row]:
        """The rows."""


class RowsBeside(ABC):
    """What a database is asked about single tables and rows."""

    @abstractmethod
    def find_tables(self, given: Sequence[str], saved: Counts) -> list[str]:
        """Tables of the live database by the names that people give them.

        They must be among those that are `saved`, if that has tables of their kind. Raises
        UsageError, RestoreRefused for what rows cannot be put back into.
        """

    @abstractmethod
    def replacing(self, beside: str, tables: Sequence[str]) -> AbstractContextManager[Replacement]:
        """Bring the rows that a restored database beside has together with the live ones.

        Raises RestoreRefused for tables whose rows cannot be put back, with all reasons.
        """

    @abstractmethod
    def kept_name(self, table: str, stamp: str) -> str:
        """Name of a table, as SQL has it, for the rows that are taken out of this one."""

    @abstractmethod
    def has_kept(self, name: str) -> bool:
        """Whether the transaction that makes a kept table was committed.

        One of a killed process that may still be at its COMMIT is ended first.
        """

    @abstractmethod
    def querying(self, name: str, query: str) -> AbstractContextManager[Query]:
        """Run one query in database `name`, where it can only read; raises RestoreRefused."""


def not_found(given: str, where: str, known: Sequence[str], alias: str) -> UsageError:
    """Say that there is no table of a name, and which ones look like it."""
    by_bare = {name.lower(): name for name in known}
    by_bare |= {name.rpartition(".")[2].lower(): name for name in known}
    bare = given.replace('"', "").lower()
    close = get_close_matches(bare, by_bare, SHOWN_NAMES)
    close += get_close_matches(bare.rpartition(".")[2], by_bare, SHOWN_NAMES)
    names = list(dict.fromkeys(by_bare[each] for each in close))[:SHOWN_NAMES]
    alike = (
        f"Those that look like it: {', '.join(names)}."
        if names
        else ("These are all with their rows:\n" + manage("backups", "show", "latest", alias=alias))
    )
    return UsageError(f"There is no table {given} in {where}. Nothing was changed. {alike}")


def refuse(problems: Sequence[str]) -> None:
    """Raise RestoreRefused with all that stands in the way, if anything does."""
    if problems:
        raise RestoreRefused(
            "These rows cannot be put back:\n"
            + "\n".join(f"- {problem}" for problem in problems)
            + "\nNothing was changed."
        )


def require_same_loss(
    now: Sequence[TableDifference], before: Sequence[TableDifference], is_agreed: bool
) -> None:
    """Raise RestoreFailed if other rows would be taken out than those that were shown."""
    changed = [each.table for each, old in zip(now, before) if each != old]
    if changed and not is_agreed:
        raise RestoreFailed(
            f"{', '.join(changed)} changed after you were shown what would be taken out. Nothing "
            "was changed. Stop what writes there, then restore again."
        )


def require_no_dangling(found: Sequence[Dangling], tables: Sequence[str]) -> None:
    """Raise RestoreFailed where rows would point to nothing."""
    if not found:
        return
    lines = "\n".join(f"- {each}" for each in found)
    others = {each.parent if each.is_restored else each.child for each in found} - {*tables}
    together = " ".join(f"--table {name}" for name in [*tables, *sorted(others)])
    advice = f" Restore them together: {together}" if others else ""
    raise RestoreFailed(
        f"Foreign keys would point to rows that are not there:\n{lines}\n"
        f"Nothing was changed.{advice}"
    )
