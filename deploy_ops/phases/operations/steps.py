"""Single statements that change a busy table, each of which looks first whether it is done.

So an operation of several can be killed anywhere, and run again from its beginning.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction

from deploy_ops.errors import NotOnline, RowsInTheWay
from deploy_ops.phases.locks import take_briefly, without_timeouts
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.catalog import Catalog, Found
from deploy_ops.phases.operations.sameness import CHECK, INDEX, check_same


@dataclass(frozen=True, slots=True)
class Statement:
    """What Django's schema editor executes; None as params leaves % alone."""

    sql: str
    params: Sequence[Any] | None = None

    def run(self, change: Change) -> None:
        """Run it, or collect it for sqlmigrate."""
        change.execute(self.sql, self.params)


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One step on a table; `tables` are all whose lock it takes."""

    tables: tuple[str, ...]
    # Whether it commits on its way, or would hold strong locks of an open transaction for long.
    needs_no_transaction = False

    @property
    def table(self) -> str:
        """The table that is changed."""
        return self.tables[0]

    def check(self, change: Change) -> None:
        """Raise NotOnline if it cannot be done to this table; called before all steps."""

    def run(self, change: Change) -> None:
        """Do it, unless it is done already."""
        if change.editor.collect_sql or not self.is_done(change):
            self.work(change)

    @abstractmethod
    def is_done(self, change: Change) -> bool:
        """Look whether it is done."""

    @abstractmethod
    def work(self, change: Change) -> None:
        """Do it, or collect its statements."""

    def catalog(self, change: Change) -> Catalog:
        """What there is."""
        return Catalog(change.connection, self.table)

    def briefly(self, change: Change, statement: Statement) -> None:
        """Run a statement that takes strong locks."""
        if change.editor.collect_sql:
            statement.run(change)
        else:
            take_briefly(change.connection, self.tables, lambda: statement.run(change))

    def refuse_partitioned(self, change: Change, what: str) -> None:
        """Raise NotOnline for a partitioned table."""
        if self.catalog(change).is_partitioned():
            raise NotOnline(
                f"{self.table} is partitioned, and PostgreSQL cannot {what} on a partitioned table "
                "without making others wait. Nothing was changed. Do it partition by partition "
                "with RunSQL, or by Django's own operation when nobody uses the table."
            )


@dataclass(frozen=True, kw_only=True)
class Brief(Step):
    """A statement that may be run any number of times."""

    statement: Statement

    def is_done(self, change: Change) -> bool:
        """It does not matter."""
        return False

    def work(self, change: Change) -> None:
        """Run it."""
        self.briefly(change, self.statement)


@dataclass(frozen=True, kw_only=True)
class BuildIndex(Step):
    """CREATE INDEX CONCURRENTLY."""

    name: str
    statement: Statement
    needs_no_transaction = True

    def check(self, change: Change) -> None:
        """Refuse partitioned tables."""
        self.refuse_partitioned(change, "build an index")

    def is_done(self, change: Change) -> bool:
        """Look for it; what a build that was killed has left is dropped."""
        found = self.catalog(change).index(self.name)
        if found is Found.INVALID:
            _drop_index(change, self.name)
        elif found is Found.VALID:
            here = Statement(
                self.statement.sql.replace(" CONCURRENTLY", "", 1), self.statement.params
            )
            check_same(change, self.table, self.name, INDEX, lambda: here.run(change))
        return found is Found.VALID

    def work(self, change: Change) -> None:
        """Build it. One that failed is dropped: a unique one rejects rows though it is invalid."""
        if change.editor.collect_sql:
            self.statement.run(change)
            return
        try:
            with without_timeouts(change.connection):
                self.statement.run(change)
        except IntegrityError as error:
            self._clean_up(change)
            raise RowsInTheWay(_duplicates(self.table, self.name, error)) from error
        except BaseException:
            self._clean_up(change)
            raise

    def _clean_up(self, change: Change) -> None:
        connection = change.connection
        with suppress(DatabaseError):
            if connection.connection is not None and connection.is_usable():
                if self.catalog(change).index(self.name) is Found.INVALID:
                    _drop_index(change, self.name)


@dataclass(frozen=True, kw_only=True)
class DropIndex(Step):
    """DROP INDEX CONCURRENTLY; inside a transaction, a brief one."""

    name: str

    def is_done(self, change: Change) -> bool:
        """Whether it is gone."""
        return self.catalog(change).index(self.name) is Found.NOTHING

    def work(self, change: Change) -> None:
        """Drop it."""
        if change.connection.in_atomic_block:
            sql = f"DROP INDEX IF EXISTS {change.quote(self.name)}"
            self.briefly(change, Statement(sql))
        else:
            _drop_index(change, self.name)


@dataclass(frozen=True, kw_only=True)
class AddConstraint(Step):
    """A constraint that takes its lock briefly: NOT VALID, or by an index that is there."""

    name: str
    statement: Statement

    def is_done(self, change: Change) -> bool:
        """Whether there is one of that name."""
        return self.catalog(change).is_validated(self.name) is not None

    def work(self, change: Change) -> None:
        """Add it."""
        self.briefly(change, self.statement)


@dataclass(frozen=True, kw_only=True)
class AddCheck(AddConstraint):
    """A check NOT VALID."""

    def is_done(self, change: Change) -> bool:
        """Whether it is there; another one of that name is not it."""
        is_there = super().is_done(change)
        if is_there:
            statement = self.statement
            check_same(change, self.table, self.name, CHECK, lambda: statement.run(change))
        return is_there


@dataclass(frozen=True, kw_only=True)
class AddForeignKey(AddConstraint):
    """A foreign key NOT VALID, which takes its lock on both tables."""

    def check(self, change: Change) -> None:
        """Refuse partitioned tables before PostgreSQL 18."""
        connection: Any = change.connection
        if connection.pg_version < 180000:
            self.refuse_partitioned(change, "add a foreign key NOT VALID")


@dataclass(frozen=True, kw_only=True)
class Validate(Step):
    """VALIDATE CONSTRAINT, for which no reader and no writer waits.

    `violating` finds a row that breaks it, where the error of PostgreSQL names none.
    """

    name: str
    violating: Callable[[Change], str | None] = lambda change: None
    needs_no_transaction = True

    def is_done(self, change: Change) -> bool:
        """Whether it is valid."""
        return self.catalog(change).is_validated(self.name) is True

    def work(self, change: Change) -> None:
        """Validate it. If rows are in the way it is dropped, since it rejects their updates."""
        constraint = change.quote(self.name)
        sql = f"ALTER TABLE {change.quote(self.table)} VALIDATE CONSTRAINT {constraint}"
        if change.editor.collect_sql:
            change.execute(sql)
            return
        try:
            with without_timeouts(change.connection):
                change.execute(sql)
        except IntegrityError as error:
            DropConstraint(tables=self.tables, name=self.name).run(change)
            raise RowsInTheWay(self._message(change, error)) from error

    def _message(self, change: Change, error: IntegrityError) -> str:
        detail = _detail(error) or self.violating(change) or "at least one"
        return (
            f"Rows of {self.table} break {self.name}: {detail}. It is not enforced now: the "
            "constraint, which was to reject such rows, was dropped again. Correct the rows, and "
            "migrate again."
        )


@dataclass(frozen=True, kw_only=True)
class DropConstraint(Step):
    """DROP CONSTRAINT, which takes its lock briefly; of a foreign key, on both tables."""

    name: str

    def is_done(self, change: Change) -> bool:
        """Whether it is gone, with the index that was to become a unique one."""
        catalog = self.catalog(change)
        is_there = catalog.is_validated(self.name) is not None
        return not is_there and catalog.index(self.name) is Found.NOTHING

    def work(self, change: Change) -> None:
        """Drop it."""
        table, name = change.quote(self.table), change.quote(self.name)
        if change.editor.collect_sql or self.catalog(change).is_validated(self.name) is not None:
            self.briefly(change, Statement(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
        else:
            DropIndex(tables=self.tables, name=self.name).run(change)


def run_unhurried(change: Change, sql: str) -> None:
    """Run, or collect, what takes long and makes no reader or writer wait."""
    if change.editor.collect_sql:
        change.execute(sql)
        return
    with without_timeouts(change.connection):
        change.execute(sql)


def run_whole(change: Change, tables: Iterable[str], work: Callable[[], object]) -> None:
    """Do all of it with strong locks in one short transaction, or collect its statements."""
    if change.editor.collect_sql:
        work()
        return

    def in_transaction() -> None:
        with transaction.atomic(change.connection.alias):
            work()

    take_briefly(change.connection, tables, in_transaction)


def _drop_index(change: Change, name: str) -> None:
    run_unhurried(change, f"DROP INDEX CONCURRENTLY IF EXISTS {change.quote(name)}")


def _duplicates(table: str, name: str, error: IntegrityError) -> str:
    return (
        f"Rows of {table} have duplicate values, which {name} forbids: {_detail(error)}. It is not "
        "enforced now: its unfinished index, which already rejected duplicates, was dropped again. "
        "Correct the rows, and migrate again."
    )


def _detail(error: IntegrityError) -> str:
    """What PostgreSQL says of a row: `Key (a, b)=(1, 2) is duplicated`."""
    diagnostics = getattr(error.__cause__, "diag", None)
    return (getattr(diagnostics, "message_detail", None) or "").rstrip(".")
