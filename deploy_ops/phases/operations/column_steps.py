"""Steps on tables and columns; see steps.py."""

from dataclasses import dataclass

from deploy_ops.phases.backfill import Filling, Sql, fill
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.reach import (
    check_fillable,
    check_triggers_reach,
    tell_subscribers,
)
from deploy_ops.phases.operations.steps import AddConstraint, Brief, Statement, Step, Validate
from deploy_ops.phases.triggers import Trigger, create_trigger


@dataclass(frozen=True, kw_only=True)
class CreateTable(Brief):
    """A table, which nobody uses yet."""

    def is_done(self, change: Change) -> bool:
        """Whether there is one of that name."""
        return self.catalog(change).exists()


@dataclass(frozen=True, kw_only=True)
class AddColumn(Brief):
    """A column; the statement neither rewrites nor reads the table."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether there is one of that name."""
        return self.catalog(change).is_not_null(self.column) is not None

    def work(self, change: Change) -> None:
        """Add it."""
        tell_subscribers(change, self.table, self.column)
        super().work(change)


@dataclass(frozen=True, kw_only=True)
class DropColumn(Step):
    """DROP COLUMN, with its indexes and constraints; of a foreign key it locks both tables."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it is gone."""
        return self.catalog(change).is_not_null(self.column) is None

    def work(self, change: Change) -> None:
        """Drop it."""
        table, column = change.quote(self.table), change.quote(self.column)
        self.briefly(change, Statement(f"ALTER TABLE {table} DROP COLUMN {column}"))


@dataclass(frozen=True, kw_only=True)
class DropTable(Step):
    """DROP TABLE, which locks those that its foreign keys point to as well."""

    def is_done(self, change: Change) -> bool:
        """Whether it is gone."""
        return not self.catalog(change).exists()

    def work(self, change: Change) -> None:
        """Drop it."""
        self.briefly(change, Statement(f"DROP TABLE {change.quote(self.table)}"))


@dataclass(frozen=True, kw_only=True)
class AddProof(AddConstraint):
    """A check that no value is missing, NOT VALID; not needed once the column is NOT NULL."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it is there, or what it is for."""
        return bool(self.catalog(change).is_not_null(self.column)) or super().is_done(change)


@dataclass(frozen=True, kw_only=True)
class ValidateProof(Validate):
    """The check holds for every row; not needed once the column is NOT NULL."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it holds, or what it is for."""
        return bool(self.catalog(change).is_not_null(self.column)) or super().is_done(change)


@dataclass(frozen=True, kw_only=True)
class AddTrigger(Step):
    """The trigger that fills."""

    trigger: Trigger

    def check(self, change: Change) -> None:
        """Refuse tables of which some rows have no triggers."""
        check_triggers_reach(change, self.table)

    def is_done(self, change: Change) -> bool:
        """Its function may be another one by now."""
        return False

    def work(self, change: Change) -> None:
        """Create it."""
        create_trigger(change, self.trigger)


@dataclass(frozen=True, kw_only=True)
class DemandValue(Step):
    """SET NOT NULL, which reads no row where a valid check proves it."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it is set."""
        return self.catalog(change).is_not_null(self.column) is True

    def work(self, change: Change) -> None:
        """Set it."""
        table, column = change.quote(self.table), change.quote(self.column)
        self.briefly(change, Statement(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL"))


@dataclass(frozen=True, kw_only=True)
class AllowNull(Step):
    """DROP NOT NULL."""

    column: str

    def is_done(self, change: Change) -> bool:
        """Whether it is not set."""
        return self.catalog(change).is_not_null(self.column) is not True

    def work(self, change: Change) -> None:
        """Drop it."""
        table, column = change.quote(self.table), change.quote(self.column)
        self.briefly(change, Statement(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"))


@dataclass(frozen=True, kw_only=True)
class FillNulls(Step):
    """Write `value`, SQL without parameters, where a column is NULL; new rows fill themselves."""

    column: str
    value: str
    key: tuple[str, ...]
    needs_no_transaction = True

    def check(self, change: Change) -> None:
        """Refuse tables of which no row can be updated."""
        if not self.is_done(change):
            check_fillable(change, self.table, self.column)

    def is_done(self, change: Change) -> bool:
        """Whether the column cannot be NULL any more."""
        return self.catalog(change).is_not_null(self.column) is True

    def work(self, change: Change) -> None:
        """Go through the table by its primary key."""
        column = change.quote(self.column)
        where = f"{column} IS NULL"
        if change.editor.collect_sql:
            table = change.quote(self.table)
            change.execute(f"UPDATE {table} SET {column} = ({self.value}) WHERE {where}")
            return
        filling = Filling(
            table=self.table,
            key_columns=self.key,
            assignments={self.column: Sql.plain(f"({self.value})")},
            where=Sql.plain(where),
        )
        fill(change.connection, filling)
