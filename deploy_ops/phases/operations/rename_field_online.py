"""Rename a field while old code uses the old column and new code the new one.

The new column is a shadow: a trigger keeps both equal, and in the contract phase the shadow is
dropped and the column itself renamed. So everything on the column (constraints, indexes, defaults,
its place in the table) is in the end what a plain rename leaves, and no row is written twice.
"""

# pylint: disable=protected-access  # of Django's schema editor, for names and SQL as it has them

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.db.migrations.operations import RenameField
from django.db.models import Model

from deploy_ops.errors import NotOnline
from deploy_ops.phases.backfill import Filling, fill
from deploy_ops.phases.operations.base import Change, PhasedOperation
from deploy_ops.phases.operations.catalog import Catalog
from deploy_ops.phases.operations.column_facts import (
    column_exists,
    copy_grants,
    facts_of,
    triggers_of,
    type_of,
    type_there,
)
from deploy_ops.phases.operations.columns import name_foreign_key
from deploy_ops.phases.operations.doubled import Doubled
from deploy_ops.phases.operations.online import (
    check_no_transaction,
    check_steps,
    run_steps,
)
from deploy_ops.phases.operations.reach import (
    check_fillable,
    check_own_column,
    check_takes_null,
    check_triggers_reach,
    tell_subscribers,
)
from deploy_ops.phases.operations.shadow import RANK, RANK_AFTER, check_free, equal
from deploy_ops.phases.operations.shadow_end import Shadow
from deploy_ops.phases.operations.shadow_indexes import ShadowIndexes
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Step, run_whole
from deploy_ops.phases.rows import Entry
from deploy_ops.phases.triggers import (
    Trigger,
    create_trigger,
    drop_trigger,
    has_function,
    trigger_exists,
)


class RenameFieldOnline(PhasedOperation, RenameField):
    """RenameField with both names in the database until the contract phase."""

    # What blocks writes when a later contract drops a column that it names goes first.
    frees_table = True
    contract_is_atomic = False
    spoils_backfills = True

    def plain(self, change: Change) -> None:
        """Rename the column."""
        self.as_django(change)

    def plain_backwards(self, change: Change) -> None:
        """Rename the column back."""
        self.as_django_backwards(change)

    def concerns(self, change: Change) -> bool:
        """Whether the model's table is in this database, and the column gets another name."""
        model = change.model_before(self.model_name)
        is_here = self.allow_migrate_model(change.connection.alias, model)
        old, new = self._fields(change)
        return is_here and (old.many_to_many or old.column != new.column)

    def entry(self, change: Change) -> Entry:
        """The table, and the names."""
        return Entry(self._table(change), self.describe())

    def expand(self, change: Change) -> None:
        """Add the shadow, keep both equal, fill it, and index it as the column."""
        self._check(change)
        model, (old, new) = change.model_after(self.model_name), self._fields(change)
        before = change.model_before(self.model_name)
        shadowed = [*ShadowIndexes(change.app, before, self.old_name, new).all()]
        steps = online_steps(change, model, lambda editor: _make(editor, model, shadowed))
        self._check_table(change, steps)
        self._make_shadow(change, model._meta.db_table, new)
        self._fill(change, model, old, new)
        for step in steps:
            step.run(change)

    def undo(self, change: Change) -> None:
        """Drop the shadow, unless something is in it alone."""
        table, (_, new) = self._table(change), self._fields(change)

        def work() -> None:
            has_shadow = column_exists(change, table, new.column)
            if has_shadow:
                self.doubled(change).check(change.connection)
            self._drop_triggers(change)
            if has_shadow:
                change.execute(_drop_column(change, table, new.column))

        run_whole(change, [table], work)

    def doubled(self, change: Change) -> Doubled:
        """The shadow, which is equal where the triggers were not passed by."""
        old, new = (each.column for each in self._fields(change))
        return Doubled(self._table(change), old, new, made=change.quote(old))

    def contract(self, change: Change) -> None:
        """Drop the shadow, and give its name to the column."""
        table, (old, new) = self._table(change), self._fields(change)
        if change.editor.collect_sql:
            self._drop_shadow(change)
        elif column_exists(change, table, old.column) and column_exists(change, table, new.column):
            shadow = Shadow(change, table, old.column, new.column)
            run_steps(self, change, [*shadow.end_steps(lambda: self._drop_shadow(change))])
        else:
            self._check_ended(change)

    def _check_ended(self, change: Change) -> None:
        """Raise NotOnline where the shadow did not go by us, who take the functions with it."""
        table, (old, new) = self._table(change), self._fields(change)
        missing = [
            each.column for each in (old, new) if not column_exists(change, table, each.column)
        ]
        is_left = any(has_function(change, each) for each in self._triggers(change))
        if Catalog(change.connection, table).exists() and (missing == [new.column] or is_left):
            raise NotOnline(
                f"{table} has no column {' and no column '.join(missing)} any more: it was renamed "
                f"or dropped by hand. {new.column} was to stay, with the indexes and constraints "
                f"of {old.column}. Nothing was changed. Give each column its name back, or create "
                "it again with the values of the other, then run the contract phase again:\n"
                + change.contract_command
            )

    def _drop_shadow(self, change: Change) -> None:
        table, (old, new) = self._table(change), self._fields(change)
        self._drop_triggers(change)
        change.execute(_drop_column(change, table, new.column))
        self._rename_foreign_key(change)
        change.execute(
            f"ALTER TABLE {change.quote(table)} RENAME COLUMN {change.quote(old.column)}"
            f" TO {change.quote(new.column)}"
        )

    def describe(self) -> str:
        """As Django's own, and how."""
        return f"{super().describe()} (both names until the old release is gone)"

    def _table(self, change: Change) -> str:
        return str(change.model_before(self.model_name)._meta.db_table)

    def _fields(self, change: Change) -> tuple[Any, Any]:
        before = change.model_before(self.model_name)
        after = change.model_after(self.model_name)
        return before._meta.get_field(self.old_name), after._meta.get_field(self.new_name)

    def _check(self, change: Change) -> None:
        old, _ = self._fields(change)
        if why := _why_not(old):
            raise NotOnline(
                f"{self.model_name}.{self.old_name} cannot have two columns for a while: {why}. "
                "Nothing was changed. Keep the name of the column and rename only the field: "
                "RenameField after an AlterField with:\n"
                f"    db_column={old.column!r}"
            )
        table = old.model._meta.db_table
        check_own_column(change, table, old.column)
        has_default = facts_of(change, table, old.column).default is not None
        if old.null and has_default and not change.editor.collect_sql:
            raise NotOnline(
                f"{table}.{old.column} has a default in the database until the contract phase, and "
                "takes NULL: a NULL from new code would look the same as that default. Nothing was "
                "changed. Run the contract phase first, then this migration:\n"
                + change.contract_command
            )
        if fired := triggers_of(change, table, old.column):
            raise NotOnline(
                f"{', '.join(fired)} on {table} fires on UPDATE OF {old.column}, and would not "
                "fire where new code updates the new name. Nothing was changed. Let it fire on "
                f"each UPDATE until the contract phase, WHEN (OLD.{old.column} IS DISTINCT FROM "
                f"NEW.{old.column}), then run this again."
            )
        check_no_transaction(self, change)

    def _check_table(self, change: Change, steps: Iterable[Step]) -> None:
        """Raise NotOnline for what the table makes impossible, now or in the contract phase."""
        if change.editor.collect_sql:
            return
        table, (old, _) = self._table(change), self._fields(change)
        check_triggers_reach(change, table)
        check_fillable(change, table, old.column)
        check_takes_null(change, table, old.column)
        check_steps(change, steps)

    def _make_shadow(self, change: Change, table: str, new: Any) -> None:
        """The column with its triggers, by which it is known as ours."""
        triggers = self._triggers(change)
        if not trigger_exists(change.connection, triggers[0]):
            check_free(change, table, new.column)

        def work() -> None:
            if change.editor.collect_sql or not column_exists(change, table, new.column):
                tell_subscribers(change, table, new.column)
                change.execute(self._add_column(change, table, new))
                copy_grants(change, table, self._fields(change)[0].column, new.column)
            for each in triggers:
                create_trigger(change, each)

        run_whole(change, [table], work)

    def _drop_triggers(self, change: Change) -> None:
        for each in self._triggers(change):
            drop_trigger(change, each)

    def _add_column(self, change: Change, table: str, new: Any) -> str:
        """Without a default, which a trigger could not tell from a value that was given."""
        old, _ = self._fields(change)
        # The type that the column has stays in the end; somebody may have changed it by hand.
        type_ = type_there(change, table, old.column) or type_of(change, new)
        column = f"{change.quote(new.column)} {type_} NULL"
        return f"ALTER TABLE {change.quote(table)} ADD COLUMN {column}"

    def _triggers(self, change: Change) -> tuple[Trigger, Trigger]:
        """What keeps both equal: before others fill one that is empty, and after."""
        columns = tuple(each.column for each in self._fields(change))
        old, new = map(change.quote, columns)
        is_same = equal(f"NEW.{new}", f"OLD.{new}")
        first = Trigger(
            table=self._table(change),
            purpose="rename",
            subject=f"{change.app}.{self.model_name_lower} {self.old_name} {self.new_name}",
            rank=RANK,
            body=(
                f"IF TG_OP = 'INSERT' AND NEW.{new} IS NULL"
                f" OR TG_OP = 'UPDATE' AND {is_same} THEN"
                f" NEW.{new} := NEW.{old}; ELSE NEW.{old} := NEW.{new}; END IF;"
            ),
            arguments=columns,
        )
        filled = (
            f"IF NEW.{new} IS NULL THEN NEW.{new} := NEW.{old};"
            f" ELSIF NEW.{old} IS NULL THEN NEW.{old} := NEW.{new}; END IF;"
        )
        return first, replace(first, rank=RANK_AFTER, body=filled)

    def _fill(self, change: Change, model: type[Model], old: Any, new: Any) -> None:
        source, target = (change.quote(each.column) for each in (old, new))
        if change.editor.collect_sql:
            change.execute(f"UPDATE {change.quote(model._meta.db_table)} SET {target} = {source}")
            return
        differs = f"NOT ({equal(target, source)})"
        filling = Filling.of_column(model, new.column, source, differs)
        fill(change.connection, filling, is_checked=True)

    def _rename_foreign_key(self, change: Change) -> None:
        """A plain rename makes it anew, since its name has the column's."""
        old, new = self._fields(change)
        if old.remote_field and old.db_constraint:
            after = change.model_after(self.model_name)
            name_foreign_key(change, change.model_before(self.model_name), old.column, after, new)


def _why_not(field: Any) -> str:
    if field.many_to_many:
        return "it is a table of its own"
    if field.primary_key:
        return "it is the primary key, to which other tables refer"
    if field.generated:
        return "it is generated; remove it and add it again in one atomic migration instead"
    if field.null and field.has_db_default():
        return "a NULL from new code would look the same as the default of old code"
    return ""


def _drop_column(change: Change, table: str, column: str) -> str:
    return f"ALTER TABLE {change.quote(table)} DROP COLUMN {change.quote(column)}"


def _make(editor: Any, model: type[Model], indexes: Iterable[Any]) -> None:
    """Let Django write the statements."""
    for each in indexes:
        editor.execute(each.create_sql(model, editor), None)
