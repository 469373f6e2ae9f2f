"""A field that changes: what loosens at once, then what is enforced, one thing at a time.

Django's AlterField does all of it in one transaction, and makes the foreign key anew whatever
changes, which reads the whole table while both tables wait.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations.operations import AlterField
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

from deploy_ops.phases.generate.fields import (
    AnyField,
    changed,
    check_of,
    database_type,
    differs_by_row,
    filling,
    is_constrained,
    is_expression,
    is_indexed,
    is_numbered,
)
from deploy_ops.phases.generate.filled import check_filling, enforce_filled
from deploy_ops.phases.generate.refusal import refusal
from deploy_ops.phases.generate.scene import Scene
from deploy_ops.phases.generate.types import changes_type, retyped, serve_both
from deploy_ops.phases.operations.change_type_online import ChangeTypeOnline
from deploy_ops.phases.operations.contract import Contract
from deploy_ops.phases.operations.enforce_foreign_key import EnforceForeignKey
from deploy_ops.phases.operations.enforce_unique import EnforceUnique
from deploy_ops.phases.operations.index_field_online import IndexFieldOnline


def alter_field(operation: AlterField, scene: Scene) -> Iterable[Operation]:
    """One AlterField, or what it consists of."""
    old = scene.old_field(operation.model_name, operation.name)
    new = scene.new_field(operation.model_name, operation.name)
    alteration = Alteration(operation, scene, old, new)
    if not alteration.is_altered(new):
        return [operation]
    alteration.check()
    if changes_type(old, new, scene):
        return alteration.type_first()
    return alteration.steps()


class Alteration:
    """One column before and after; `held` are options that keep their old value for now."""

    def __init__(self, operation: AlterField, scene: Scene, old: AnyField, new: AnyField) -> None:
        self.operation, self.scene = operation, scene
        self.old, self.new = old, new
        self.editor: Any = scene.connection.schema_editor()
        self.held: dict[str, Any] = {}

    def steps(self) -> Iterator[Operation]:
        """The operations, the loosest first."""
        old, new = self.old, self.new
        enforces_value = old.null and not new.null
        enforces_unique = new.unique and not old.unique
        loses_unique = old.unique and not new.unique
        gains_index = is_indexed(new) and not is_indexed(old) and not new.unique
        loses_default = old.has_db_default() and not new.has_db_default()
        if enforces_value:
            self.held |= {"null": True, "db_default": self._old_default(), "default": NOT_PROVIDED}
        if enforces_unique or loses_unique:
            self.held |= {"unique": old.unique, "db_index": old.db_index}
        if loses_default:
            self.held |= {"db_default": old.db_default}
        if gains_index:
            self.held |= {"db_index": False}
        if is_constrained(new) and not is_constrained(old):
            self.held |= {"db_constraint": False}
        yield from self._loosen()
        if enforces_value:
            self._release("null", "default", *([] if loses_default else ["db_default"]))
            yield self._enforce_value()
        if enforces_unique:
            self._release("unique", "db_index")
            yield EnforceUnique(*self._names, self._lasting())
        if {"db_constraint", "db_index"} & set(self.held) and not loses_unique:
            self._release("db_constraint", "db_index")
            kind = EnforceForeignKey if new.remote_field else IndexFieldOnline
            yield kind(*self._names, self._lasting())
        if self.held:
            self.held = {}
            yield Contract(AlterField(*self._names, self._lasting()))

    def type_first(self) -> Iterator[Operation]:
        """The type alone, then what else has changed."""
        names = self._names
        middle = retyped(self.old, self.operation.field)
        yield ChangeTypeOnline(*names, middle)
        rest = Alteration(self.operation, self.scene, self._bound(middle), self.new)
        if rest.is_altered(self.new):
            yield from rest.steps()

    def is_altered(self, field: AnyField) -> bool:
        """Whether the database has anything to do for a field instead of the old one."""
        # pylint: disable-next=protected-access  # what Django itself asks
        return bool(self.editor._field_should_be_altered(self.old, field))

    def check(self) -> None:
        """Raise NotInTwoPhases for what has no safe form."""
        old, new = self.old, self.new
        if old.many_to_many or new.many_to_many or old.generated or new.generated:
            raise self._refusal(
                "its tables or its expression change",
                "Add a field of another name and remove this one.",
            )
        if old.column != new.column and not changes_type(old, new, self.scene):
            raise self._refusal(
                f"the column {old.column} would become {new.column}, and old code reads the one, "
                "new code the other",
                f"Keep it:\n    {new.name} = ...(db_column={old.column!r})",
            )
        if old.primary_key != new.primary_key or is_numbered(old) != is_numbered(new):
            raise self._refusal(
                "the primary key changes", "Add a model, copy the rows, and delete this one."
            )
        self._check_type()
        if (check := check_of(new, self.scene)) and check != check_of(old, self.scene):
            raise self._refusal(
                f"{type(new).__name__} brings a check that reads all rows while everybody waits",
                "Keep the kind of field, and add a CheckConstraint to Meta.constraints.",
            )

    def _check_type(self) -> None:
        if not changes_type(self.old, self.new, self.scene):
            return
        old, new = (database_type(each, self.scene) for each in (self.old, self.new))
        if self.old.column == self.new.column and not serve_both(self.old, self.new, self.scene):
            raise self._refusal(
                f"the type changes from {old} to {new}, and neither takes all values that code of "
                "the other release writes",
                "Give it a column of its own, which is kept equal to the old one:\n"
                f"    {self.new.name} = ...(db_column={self.new.column + '_new'!r})",
            )
        if check_of(self.old, self.scene) and not check_of(self.new, self.scene):
            raise self._refusal(
                f"the type changes from {old} to {new}, and the check of "
                f"{type(self.old).__name__} goes with it",
                "Take the check away first, by the same kind of field without it.",
            )
        related = [each for each in self.old.model._meta.related_objects if each.one_to_many]
        is_target = any(self.old in each.field.foreign_related_fields for each in related)
        if is_target or self.old.primary_key or self.old.is_relation or self.new.is_relation:
            raise self._refusal(
                "foreign keys have its type, and all of them would be recreated",
                "Add a field of the new type, fill it, and remove this one.",
            )

    @property
    def _names(self) -> tuple[str, str]:
        return self.operation.model_name, self.operation.name

    def _loosen(self) -> Iterator[Operation]:
        """All that is not held, as far as the database has anything to do for it."""
        loose = self._lasting()
        if not self.is_altered(self._bound(loose)):
            return
        if is_constrained(self.old) and is_constrained(self.new):
            self.held |= {"db_constraint": False}  # Django would make it anew at once
            loose = self._lasting()
        yield AlterField(*self._names, loose)

    def _enforce_value(self) -> Operation:
        operation = self.operation
        field = changed(operation.field, **self.held)
        if field.has_db_default() or not (is_expression(field.default) or differs_by_row(field)):
            return enforce_filled(operation, field, None)
        fill = filling(field)
        if fill is None:
            raise self._refusal(
                "its default gives each row another value, and the database cannot call it for "
                "rows without a value and for rows that old code inserts",
                "Give it a db_default; or fill the rows, and answer that they were handled.",
            )
        check_filling(fill, self.new.model, self._subject)
        return enforce_filled(operation, field, fill)

    def _lasting(self) -> AnyField:
        """The new field with what is held, and without a default that is for this once."""
        once = {} if self.operation.preserve_default else {"default": NOT_PROVIDED}
        return changed(self.operation.field, **(once | self.held))

    def _release(self, *options: str) -> None:
        for option in options:
            self.held.pop(option, None)

    def _old_default(self) -> Any:
        return self.old.db_default if self.old.has_db_default() else NOT_PROVIDED

    def _bound(self, field: AnyField) -> AnyField:
        """The field as one of its model, of which alone its column is known."""
        state = self.scene.before.clone()
        AlterField(*self._names, field).state_forwards(self.scene.app, state)
        model = state.apps.get_model(self.scene.app, self.operation.model_name)
        return model._meta.get_field(self.operation.name)

    def _refusal(self, why: str, cure: str) -> Exception:
        return refusal(self._subject, why, cure)

    @property
    def _subject(self) -> str:
        return ".".join((self.scene.app, *self._names))
