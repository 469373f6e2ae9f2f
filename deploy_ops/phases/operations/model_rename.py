"""Renaming a model: the table at once, with a view under its old name for code that knows no other.

A foreign key that Django would make anew, since its name has the table's, is only given that name:
no row is read. What a view cannot do for old code is listed in docs/reference/phases.md.
"""

# pylint: disable=protected-access  # of Django's schema editor, for names as it has them

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations.operations import RenameModel
from django.db.models import Model

from deploy_ops.errors import NotOnline
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.column_facts import column_exists
from deploy_ops.phases.operations.columns import name_foreign_key
from deploy_ops.phases.operations.content_types import merge_content_types, rename_content_type
from deploy_ops.phases.operations.half import Half
from deploy_ops.phases.operations.steps import run_whole
from deploy_ops.phases.operations.views import create_view, drop_view, kind_of
from deploy_ops.phases.rows import Entry


@dataclass(frozen=True, slots=True)
class Renamed:
    """A table before and after, with the columns that change their names."""

    old: str
    new: str
    columns: Mapping[str, str] = field(default_factory=dict)


class ModelRename(Half[RenameModel]):
    """The table has its new name at once, and the old one is a view until the contract phase."""

    frees_table = True
    is_first = True
    follows_table = False
    spoils_backfills = False

    def plain(self, change: Change) -> None:
        """Rename it without a view."""
        if runs_alone(change.connection, change.app):
            super().plain(change)
            self._rename_content_type(change)
        else:
            self._rename(change, with_views=False)

    def plain_backwards(self, change: Change) -> None:
        """Rename it back."""
        if runs_alone(change.connection, change.app):
            super().plain_backwards(change)
            self._rename_content_type(change, backwards=True)
        else:
            self._rename(change, with_views=False, backwards=True)

    def expand(self, change: Change) -> None:
        """Rename what Django renames, and leave views."""
        self._check(change)
        self._rename(change, with_views=True)

    def undo(self, change: Change) -> None:
        """Drop the views, and rename all back."""
        self._rename(change, with_views=True, backwards=True)

    def contract(self, change: Change) -> None:
        """Drop the views, and take over what points to a content type that old code has made."""
        for each in self._tables(change, *self._models(change)):
            drop_view(change, each.old)
        names = self.operation.old_name_lower, self.operation.new_name_lower
        merge_content_types(change, change.app, *names)

    def entry(self, change: Change) -> Entry | None:
        """The views, if any table gets another name."""
        tables = self._tables(change, *self._models(change))
        if not tables:
            return None
        views = ", ".join(each.old for each in tables)
        return Entry(tables[0].new, f"Drop the view {views} of {self.operation.new_name}")

    def describe(self) -> str:
        """What happens, and what is left for old code."""
        return f"{self.operation.describe()} (both names until the old release is gone)"

    def model(self, change: Change) -> type[Model] | None:
        """The model under its old name."""
        return change.model_before(self.operation.old_name)

    def _models(self, change: Change) -> tuple[type[Model], type[Model]]:
        operation = self.operation
        return change.model_before(operation.old_name), change.model_after(operation.new_name)

    def _check(self, change: Change) -> None:
        for old, new in _throughs(change, *self._models(change)):
            each = _renamed(old, new)
            if each.columns and each.old == each.new:
                columns = ", ".join(f"{was} to {now}" for was, now in each.columns.items())
                raise NotOnline(
                    f"Renaming {self.operation.old_name} renames a column of the many-to-many "
                    f"table {each.old} ({columns}), and the table itself keeps its name, so "
                    "that no view can have the old one. Nothing was changed. Keep the name of the "
                    "model and change its verbose_name, or give that field a `through` model whose "
                    "columns have names of their own (db_column)."
                )
        if change.editor.collect_sql:
            return
        for each in self._tables(change, *self._models(change)):
            if kind_of(change, each.new) == "v":
                raise NotOnline(
                    f"{each.new} is a view that waits for the contract phase, so the table "
                    f"{each.old} cannot get that name. Nothing was changed. Run the contract phase "
                    "first, then this migration:\n" + change.contract_command
                )

    def _rename(self, change: Change, *, with_views: bool, backwards: bool = False) -> None:
        """All in one transaction, since neither code can do with a half."""
        old, new = self._models(change)
        tables = self._tables(change, old, new)

        def work() -> None:
            if backwards:
                for each in tables:
                    drop_view(change, each.old)
                self._rename_tables(change, [_backwards(each) for each in tables])
                _name_foreign_keys(change.reversed(), new, old)
                self._rename_content_type(change, backwards=True)
                return
            self._rename_tables(change, tables)
            _name_foreign_keys(change, old, new)
            self._rename_content_type(change)
            if with_views:
                for each in tables:
                    create_view(change, each.old, each.new, each.columns)

        run_whole(change, _locked(change, old, new), work)

    def _rename_tables(self, change: Change, tables: list[Renamed]) -> None:
        is_shown = change.editor.collect_sql
        for each in tables:
            # A view is what a run before has left there; one more table of that name fails.
            if each.old != each.new and (is_shown or kind_of(change, each.old) not in (None, "v")):
                names = change.quote(each.old), change.quote(each.new)
                change.execute(f"ALTER TABLE {names[0]} RENAME TO {names[1]}")
            for was, now in each.columns.items():
                if is_shown or column_exists(change, each.new, was):
                    names = change.quote(was), change.quote(now)
                    table = f"ALTER TABLE {change.quote(each.new)}"
                    change.execute(f"{table} RENAME COLUMN {names[0]} TO {names[1]}")

    def _rename_content_type(self, change: Change, *, backwards: bool = False) -> None:
        names = [self.operation.old_name_lower, self.operation.new_name_lower]
        if backwards:
            merge_content_types(change, change.app, *names)
            names.reverse()
        rename_content_type(change, change.app, *names)

    def _tables(self, change: Change, old: type[Model], new: type[Model]) -> list[Renamed]:
        pairs = [(old, new), *_throughs(change, old, new)]
        return [each for each in map(_renamed_pair, pairs) if each.old != each.new]


def _renamed_pair(pair: tuple[type[Model], type[Model]]) -> Renamed:
    return _renamed(*pair)


def _renamed(old: type[Model], new: type[Model]) -> Renamed:
    columns = zip(old._meta.local_concrete_fields, new._meta.local_concrete_fields, strict=True)
    changed = {str(was.column): str(now.column) for was, now in columns if was.column != now.column}
    return Renamed(old._meta.db_table, new._meta.db_table, changed)


def _backwards(each: Renamed) -> Renamed:
    return Renamed(each.new, each.old, {now: was for was, now in each.columns.items()})


def _throughs(
    change: Change, old: type[Model], new: type[Model]
) -> Iterator[tuple[type[Model], type[Model]]]:
    """The tables that Django made for many-to-many fields of the model, and of others to it."""
    fields = [(each, new._meta.get_field(each.name)) for each in old._meta.local_many_to_many]
    for relation, model in _relations(change, old, new):
        if relation.field.many_to_many and relation.related_model is not old:
            fields.append((relation.field, model._meta.get_field(relation.field.name)))
    was: Any
    now: Any
    for was, now in fields:
        if was.remote_field.through._meta.auto_created:
            yield was.remote_field.through, now.remote_field.through


def _relations(
    change: Change, old: type[Model], new: type[Model]
) -> Iterator[tuple[Any, type[Model]]]:
    """What points to the model, as Django's RenameModel goes through it; with the model after."""
    for relation in old._meta.related_objects:
        child: Any = relation.related_model
        if child is old:
            yield relation, new
        else:
            yield relation, change.after.apps.get_model(child._meta.label_lower)


def _foreign_keys(
    change: Change, old: type[Model], new: type[Model]
) -> Iterator[tuple[type[Model], Any, Any]]:
    """The foreign keys that get another name: their table after, the field before and after."""
    for relation, model in _relations(change, old, new):
        if not relation.field.many_to_many:
            yield model, relation.field, model._meta.get_field(relation.field.name)
    for was, now in _throughs(change, old, new):
        pairs = zip(was._meta.local_concrete_fields, now._meta.local_concrete_fields, strict=True)
        yield from ((now, before, after) for before, after in pairs)


def _name_foreign_keys(change: Change, old: type[Model], new: type[Model]) -> None:
    editor = change.editor
    for model, before, after in _foreign_keys(change, old, new):
        if not (before.remote_field and before.db_constraint and after.db_constraint):
            continue
        if not editor._field_should_be_altered(before, after, ignore={"db_comment"}):
            continue
        name_foreign_key(change, model, after.column, model, after)


def _locked(change: Change, old: type[Model], new: type[Model]) -> list[str]:
    """All tables whose lock is taken, by the names that they have before."""
    throughs = [was._meta.db_table for was, _ in _throughs(change, old, new)]
    children = [
        relation.related_model._meta.db_table
        for relation, _ in _relations(change, old, new)
        if not relation.field.many_to_many
    ]
    return sorted({old._meta.db_table, *throughs, *children})
