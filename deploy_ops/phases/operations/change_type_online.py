"""ChangeTypeOnline: a column of another type, without a rewrite that everybody waits for."""

from collections.abc import Iterator
from enum import Enum
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import AlterField

from deploy_ops.errors import NotOnline
from deploy_ops.phases.column_types import is_free, takes_all_of
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.column_swap import expand_steps, replace_steps, undo_steps
from deploy_ops.phases.operations.dependents import check_dependents, has_checks, has_indexes
from deploy_ops.phases.operations.doubled import Doubled
from deploy_ops.phases.operations.online import PhasedOnline, check_steps, run_steps
from deploy_ops.phases.operations.reach import check_own_column, check_takes_null
from deploy_ops.phases.operations.second_column import SecondColumn
from deploy_ops.phases.operations.steps import run_whole
from deploy_ops.phases.rows import Entry, waiting_rows
from deploy_ops.phases.where import find_place

# What has to stay, since each of these has an operation of its own.
KEPT = ("null", "unique", "db_index", "db_default", "db_comment", "db_tablespace")


class Way(Enum):
    """When the column of the new type takes the place of the old one."""

    AT_ONCE = "the new type takes all that old code writes"
    LATER = "the old type takes all that new code writes"
    BOTH = "each code has a column of its own, of which a trigger makes the other"
    NONE = "neither code can use the column of the other"


class ChangeTypeOnline(PhasedOnline, AlterField):
    """AlterField to another type of the column, and of nothing else.

    A second column of the new type is filled in batches and indexed as the first one, while a
    trigger keeps it right; then it takes the first one's name in one short transaction. That is
    done at once where the new type takes all values of the old one (integer to bigint), in the
    contract phase where it is the other way round. Types of which neither takes the other's values
    need a field with another `db_column`: both are there, and kept equal, until the contract phase.
    Where no row has to be written it is Django's own statement.
    """

    def plain(self, change: Change) -> None:
        """Change it at once, whatever the types."""
        if runs_alone(change.connection, change.app):
            super().plain(change)
        else:
            self._replace(change)

    def plain_backwards(self, change: Change) -> None:
        """Change it back at once."""
        if runs_alone(change.connection, change.app):
            super().plain_backwards(change)
        else:
            self._replace(change.reversed())

    def expand(self, change: Change) -> None:
        """Change it, or make the second column, or only look whether it can be done later."""
        self._check_earlier(change)
        old, new = self._fields(change)
        way = _way(change.connection, old, new)
        if way is Way.AT_ONCE:
            self._replace(change)
        elif way is Way.BOTH:
            self._check(change)
            second = SecondColumn(change, old, new, is_written=True)
            run_steps(self, change, expand_steps(second))
        elif way is Way.LATER:
            self._check_later(change)
        else:
            raise NotOnline(_no_way(change.connection, old, new))

    def undo(self, change: Change) -> None:
        """Drop the second column, if each code has its own."""
        old, new = self._fields(change)
        if _way(change.connection, old, new) is Way.BOTH:
            second = SecondColumn(change, old, new, is_written=True)
            run_steps(self, change, undo_steps(second))

    def doubled(self, change: Change) -> Doubled | None:
        """The second column, if each code has its own."""
        old, new = self._fields(change)
        if _way(change.connection, old, new) is not Way.BOTH:
            return None
        return SecondColumn(change, old, new, is_written=True).doubled

    def contract(self, change: Change) -> None:
        """Change it, or drop the first column."""
        old, new = self._fields(change)
        way = _way(change.connection, old, new)
        if way is Way.LATER:
            self._replace(change)
        elif way is Way.BOTH:
            second = SecondColumn(change, old, new, is_written=True)
            run_steps(self, change, replace_steps(second))

    def entry(self, change: Change) -> Entry | None:
        """Nothing waits where the new type takes all values of the old one."""
        old, new = self._fields(change)
        if _way(change.connection, old, new) is Way.AT_ONCE:
            return None
        return Entry(old.model._meta.db_table, self.describe())

    @property
    def frees_table(self) -> bool:  # type: ignore[override]
        """Whether it may have a trigger: of two columns the new one is named by `db_column`."""
        return self.field.db_column is not None

    @property
    def spoils_backfills(self) -> bool:  # type: ignore[override]
        """Whether it drops a column that old code has; else the column stays, with its name."""
        return self.field.db_column is not None

    def loses(self, change: Change) -> None:
        """A type may have rounded what was in the column."""
        del change

    def describe(self) -> str:
        """As AlterField, and what of it."""
        return f"Change the type of {self.name} on {self.model_name} (online)"

    def _replace(self, change: Change) -> None:
        self._check(change)
        old, new = self._fields(change)
        if _is_plain(change, old, new):
            self._alter(change, old, new)
        else:
            second = SecondColumn(change, old, new, is_written=False)
            run_steps(self, change, replace_steps(second))

    def _check_later(self, change: Change) -> None:
        """Raise NotOnline for what the contract phase could not do."""
        self._check(change)
        old, new = self._fields(change)
        if not (change.editor.collect_sql or _is_plain(change, old, new)):
            second = SecondColumn(change, old, new, is_written=False)
            check_steps(change, replace_steps(second))

    def _check_earlier(self, change: Change) -> None:
        """Another change of the same column that waits would undo this one when it runs."""
        if change.editor.collect_sql or not (rows := waiting_rows(change.connection)):
            return
        place, table = find_place(self, change.app), self._fields(change)[0].model._meta.db_table
        for row in rows:
            if (row.table, row.description) == (table, self.describe()) and row.place != place:
                raise NotOnline(
                    f"{self.describe()}: {row.place} changes the same type, and waits for the "
                    "contract phase. Nothing was changed. Run that first, then this migration:\n"
                    + change.contract_command
                )

    def _alter(self, change: Change, old: Any, new: Any) -> None:
        """Django's own statement, which reads and writes no row."""
        work = partial(change.editor.alter_field, old.model, old, new)
        run_whole(change, [old.model._meta.db_table], work)

    def _check(self, change: Change) -> None:
        old, new = self._fields(change)
        if why := _why_not(old, new):
            raise NotOnline(
                f"The type of {new.model._meta.label}.{new.name} cannot be changed while others "
                f"use it: {why}. Nothing was changed. {_instead(old)}"
            )
        if more := sorted(_other_changes(change.connection, old, new)):
            raise NotOnline(
                f"{new.model._meta.label}.{new.name} changes in more than its type: "
                f"{', '.join(more)}. Nothing was changed. Put the other changes into an operation "
                "of their own, before this one or after it."
            )
        if not change.editor.collect_sql:
            second = SecondColumn(change, old, new, is_written=old.column != new.column)
            if second.is_written:
                check_takes_null(change, second.table, old.column)
            if not second.has_casts():
                raise NotOnline(_no_cast(change.connection, old, new))
            check_own_column(change, old.model._meta.db_table, old.column)
            check_dependents(change, old.model._meta.db_table, old.column, second.trigger.name)

    def _fields(self, change: Change) -> tuple[Any, Any]:
        before = change.model_before(self.model_name)
        after = change.model_after(self.model_name)
        return before._meta.get_field(self.name), after._meta.get_field(self.name)


def _way(connection: BaseDatabaseWrapper, old: Any, new: Any) -> Way:
    if old.column != new.column:
        return Way.BOTH
    before, after = (_type(connection, each) for each in (old, new))
    if takes_all_of(after, before):
        return Way.AT_ONCE
    return Way.LATER if takes_all_of(before, after) else Way.NONE


def _type(connection: BaseDatabaseWrapper, field: Any) -> str:
    return str(field.db_parameters(connection=connection)["type"])


def _is_plain(change: Change, old: Any, new: Any) -> bool:
    """Whether Django's own statement reads no row: PostgreSQL keeps all, and nothing is rebuilt."""
    before, after = (each.db_parameters(connection=change.connection) for each in (old, new))
    if old.column != new.column or not is_free(before["type"], after["type"]):
        return False
    table = old.model._meta.db_table
    is_like = before["type"].startswith("varchar") == after["type"].startswith("varchar")
    is_same_order = is_like and before.get("collation") == after.get("collation")
    return (is_same_order or not has_indexes(change, table, old.column)) and not has_checks(
        change, table, old.column
    )


def _other_changes(connection: BaseDatabaseWrapper, old: Any, new: Any) -> Iterator[str]:
    for name in KEPT:
        if getattr(old, name) != getattr(new, name):
            yield name
    checks = connection.data_type_check_constraints
    if checks.get(old.get_internal_type()) != checks.get(new.get_internal_type()):
        yield "the check that the kind of field brings"


def _why_not(old: Any, new: Any) -> str:
    if old.primary_key or new.primary_key:
        return "it is the primary key, to which other tables refer"
    if old.is_relation or new.is_relation:
        return "it refers to another table, whose key has the type"
    if old.generated or new.generated:
        return "it is generated"
    if old.column != new.column and new.null and new.has_db_default():
        return "a NULL from new code would look the same as the default of old code"
    return ""


def _instead(old: Any) -> str:
    if old.primary_key or old.is_relation:
        return (
            "Write AlterField for a maintenance window: it rewrites this table and all that "
            "refer to it. How long that takes:\n    safe_migrate --rehearse"
        )
    return "Add a field of the new type, fill it with Backfill, and remove this one with Contract."


def _no_cast(connection: BaseDatabaseWrapper, old: Any, new: Any) -> str:
    before, after = (_type(connection, each) for each in (old, new))
    return (
        f"{new.model._meta.label}.{new.name} would become {after} from {before}, and PostgreSQL "
        f"has no cast from one to the other. Nothing was changed. {_instead(old)}"
    )


def _no_way(connection: BaseDatabaseWrapper, old: Any, new: Any) -> str:
    before, after = (_type(connection, each) for each in (old, new))
    return (
        f"{new.model._meta.label}.{new.name} would become {after} from {before}: old code writes "
        f"what {after} does not take, and new code what {before} does not take, so one column "
        "cannot serve both. Nothing was changed. Give the new field a column of its own; both are "
        "kept equal until the contract phase:\n"
        f"    {new.name} = models.{type(new).__name__}(..., db_column={new.column + '_new'!r})"
    )
