"""Altering a field, removing a constraint or an index: what loosens runs now, the rest waits."""

# pylint: disable=protected-access  # of Django's schema editor, for names and SQL as it has them

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.migrations.operations import (
    AlterField,
    AlterUniqueTogether,
    RemoveConstraint,
    RemoveIndex,
)

from deploy_ops.advice import manage
from deploy_ops.errors import NotOnline
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.half import Half
from deploy_ops.phases.operations.now import columns_together, fields_now, unique_together_now
from deploy_ops.phases.rows import Entry

NOT_IN_DATABASE = {*models.Field.non_db_attrs, "default"}


class FieldAlteration(Half[AlterField]):
    """A column that only takes more from now on serves both codes; any other change waits."""

    def expand(self, change: Change) -> None:
        """Loosen the column."""
        if self._is_looser(change):
            super().contract(change)

    def contract(self, change: Change) -> None:
        """Alter it, unless a later migration has changed the same again."""
        if not change.editor.collect_sql:
            self._check_latest(change)
        super().contract(change)

    def _check_latest(self, change: Change) -> None:
        """Raise NotOnline where this would take a later change back."""
        old, new = self._field(change.before, change), self._field(change.after, change)
        table = new.model._meta.db_table
        for now in fields_now(change, table, [new.column]):
            for found, wanted in _at_odds(old, new, now, change):
                raise _taken_back(self, f"{table}.{new.column} {found}", wanted, change)

    def entry(self, change: Change) -> Entry | None:
        """Nothing waits where the column only became looser."""
        return None if self._is_looser(change) else super().entry(change)

    def _is_looser(self, change: Change) -> bool:
        old, new = self._field(change.before, change), self._field(change.after, change)
        if (old.null and not new.null) or not _is_as_long(old, new):
            return False
        ignored = {"null", "max_length"}
        return not change.editor._field_should_be_altered(old, new, ignore=ignored)

    def _field(self, state: Any, change: Change) -> Any:
        model = state.apps.get_model(change.app, self.operation.model_name)
        return model._meta.get_field(self.operation.name)


def _taken_back(half: Half[Any], found: str, wanted: str, change: Change) -> NotOnline:
    return NotOnline(
        f"{half.operation.describe()}: a later migration has made {found}, and this would change "
        f"it back to {wanted}. Nothing was changed. If nothing else of it is needed, skip it with "
        "`contract skip` and its name from:\n"
        + manage("contract", "list", alias=change.connection.alias)
    )


def _at_odds(old: Any, new: Any, now: Any, change: Change) -> Iterator[tuple[str, str]]:
    """What a later migration has made of a field that was altered from `old` to `new`, and what
    the alteration would make of it, where these are not the same."""
    types = now.db_type(change.connection), new.db_type(change.connection)
    if types[0] != types[1]:
        yield types
    for name in sorted(_altered(old, new) & _altered(new, now)):
        yield f"{name}={getattr(now, name, None)!r}", f"{name}={getattr(new, name, None)!r}"


def _altered(old: Any, new: Any) -> set[str]:
    """The attributes that are the database's, and differ."""
    before, after = (each.deconstruct()[3] for each in (old, new))
    names = before.keys() | after.keys()
    return {name for name in names if before.get(name) != after.get(name)} - NOT_IN_DATABASE


def _is_as_long(old: Any, new: Any) -> bool:
    return new.max_length is None or (
        old.max_length is not None and new.max_length >= old.max_length
    )


class TogetherAlteration(Half[AlterUniqueTogether]):
    """What is unique together stays so for old code, which may insert ON CONFLICT on it."""

    spoils_backfills = False

    def contract(self, change: Change) -> None:
        """Alter it, unless a later migration wants again what would go."""
        if not change.editor.collect_sql:
            old, new = (self._columns(state, change) for state in (change.before, change.after))
            table = change.model_after(self.operation.name)._meta.db_table
            for columns in sorted((old - new) & unique_together_now(change, table)):
                what = f"{', '.join(columns)} of {table} unique together"
                raise _taken_back(self, what, "not so", change)
        super().contract(change)

    def model(self, change: Change) -> type[models.Model]:
        """The model whose option it is."""
        return change.model_before(self.operation.name)

    def _columns(self, state: Any, change: Change) -> set[tuple[str, ...]]:
        return columns_together(state.apps.get_model(change.app, self.operation.name))


class ConstraintRemoval(Half[RemoveConstraint]):
    """A check goes now, since new code may write what it forbids.

    What is unique stays: old code may insert ON CONFLICT on it, and rows that are no longer unique
    would leave no way back.
    """

    spoils_backfills = False

    def expand(self, change: Change) -> None:
        """Drop what is not unique."""
        if not self._is_unique(change):
            self.contract(change)

    def entry(self, change: Change) -> Entry | None:
        """Only what is unique waits."""
        return super().entry(change) if self._is_unique(change) else None

    def contract(self, change: Change) -> None:
        """Drop it, if it is there."""
        model = change.model_before(self.operation.model_name)
        with change.connection.cursor() as cursor:
            found = change.connection.introspection.get_constraints(cursor, model._meta.db_table)
        if change.editor.collect_sql or self.operation.name in found:
            super().contract(change)

    def _is_unique(self, change: Change) -> bool:
        state = change.before.models[change.app, self.operation.model_name.lower()]
        constraint = state.get_constraint_by_name(self.operation.name)
        return isinstance(constraint, models.UniqueConstraint)


class IndexRemoval(Half[RemoveIndex]):
    """The index stays for the queries of old code, and goes without making anybody wait."""

    contract_is_atomic = False
    spoils_backfills = False

    def contract(self, change: Change) -> None:
        """Drop it concurrently, if it is there."""
        name = change.quote(self.operation.name)
        change.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
