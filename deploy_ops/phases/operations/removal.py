"""Removing a field or a model: new code does not know it any more, old code still uses it."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations.operations import DeleteModel, RemoveField
from django.db.models import Model

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.column_facts import column_exists
from deploy_ops.phases.operations.columns import (
    allow_omission,
    demand_again,
    drop_foreign_keys,
    restore_foreign_keys,
    table_exists,
)
from deploy_ops.phases.operations.half import Half


class FieldRemoval(Half[RemoveField]):
    """The column stays; new code may insert rows without it and delete what it pointed to."""

    begins_at_once = True

    def expand(self, change: Change) -> None:
        """Drop its foreign key, and let inserts leave it out."""
        model, field = self._field(change)
        if field.many_to_many:
            _release_through_tables(change, [field])
        elif _has_column(change, field):
            drop_foreign_keys(change, model, [field])
            allow_omission(change, model, field)

    def undo(self, change: Change) -> None:
        """Demand a value again, and make the foreign key again."""
        model, field = self._field(change)
        if field.many_to_many:
            _restore_through_tables(change, [field])
        elif _has_column(change, field):
            demand_again(change, model, field)
            restore_foreign_keys(change, model, [field])

    def contract(self, change: Change) -> None:
        """Drop the column; PostgreSQL refuses where a view uses it, and no view goes with it."""
        model, field = self._field(change)
        if field.many_to_many:
            _drop_tables(change, _through_tables([field]))
        elif _has_column(change, field):
            table = model._meta.db_table
            if change.editor.collect_sql or column_exists(change, table, field.column):
                column = change.quote(field.column)
                change.execute(f"ALTER TABLE {change.quote(table)} DROP COLUMN {column}")

    def loses(self, change: Change) -> bool:
        """The values of the column or table, unless the database computes them."""
        return not self._field(change)[1].generated

    def _field(self, change: Change) -> tuple[type[Model], Any]:
        model = change.model_before(self.operation.model_name)
        return model, model._meta.get_field(self.operation.name)


class ModelRemoval(Half[DeleteModel]):
    """The table stays; new code may delete the rows that it pointed to."""

    begins_at_once = True

    def expand(self, change: Change) -> None:
        """Drop the foreign keys that go out of it and of its many-to-many tables."""
        model = self._model(change)
        _release_through_tables(change, model._meta.local_many_to_many)
        drop_foreign_keys(change, model, model._meta.local_fields)

    def undo(self, change: Change) -> None:
        """Make the foreign keys again."""
        model = self._model(change)
        restore_foreign_keys(change, model, model._meta.local_fields)
        _restore_through_tables(change, model._meta.local_many_to_many)

    def contract(self, change: Change) -> None:
        """Drop the tables; PostgreSQL refuses where a view uses one, and no view goes with it."""
        model = self._model(change)
        _drop_tables(change, [*_through_tables(model._meta.local_many_to_many), model])

    def loses(self, change: Change) -> bool:
        """All rows."""
        return True

    def model(self, change: Change) -> type[Model] | None:
        """The model that is deleted."""
        return self._model(change)

    def _model(self, change: Change) -> type[Model]:
        return change.model_before(self.operation.name)


def _has_column(change: Change, field: Any) -> bool:
    return field.db_parameters(connection=change.connection)["type"] is not None


def _through_tables(fields: Iterable[Any]) -> Iterator[type[Model]]:
    """The tables that Django makes for many-to-many fields by itself."""
    for field in fields:
        through = field.remote_field.through
        if through._meta.auto_created:
            yield through


def _release_through_tables(change: Change, fields: Iterable[Any]) -> None:
    for through in _through_tables(fields):
        drop_foreign_keys(change, through, through._meta.local_fields)


def _restore_through_tables(change: Change, fields: Iterable[Any]) -> None:
    for through in _through_tables(fields):
        restore_foreign_keys(change, through, through._meta.local_fields)


def _drop_tables(change: Change, tables: Iterable[type[Model]]) -> None:
    for model in tables:
        table = model._meta.db_table
        if change.editor.collect_sql or table_exists(change, table):
            change.execute(f"DROP TABLE {change.quote(table)}")
