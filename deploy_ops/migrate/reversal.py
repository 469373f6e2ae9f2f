"""What undoing an operation would take with it, decided from operations and states alone.

The answer of a migration is its worst operation's. UNPROVEN and the effects of LOSSLESS ones are
looked at in the database before anything is undone (undo.py).
"""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import truncate_name
from django.db.migrations.operations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterIndexTogether,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    AlterModelTableComment,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    CreateModel,
    RemoveConstraint,
    RemoveIndex,
    RenameField,
    RenameIndex,
    RenameModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from deploy_ops.conf import conf
from deploy_ops.phases.operations.base import PhasedOperation

MAX_IDENTIFIER = 63

# Undoing these drops or renames what they made, and touches no row that was there before.
ADDITIVE = (
    AddConstraint,
    AddField,
    AddIndex,
    AlterIndexTogether,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    AlterModelTableComment,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    CreateModel,
    RemoveConstraint,
    RemoveIndex,
    RenameField,
    RenameIndex,
    RenameModel,
)
# Known by name, since their module needs psycopg, which a project on SQLite does without.
INDEX_OPERATIONS = frozenset({"AddIndexConcurrently", "RemoveIndexConcurrently"})
ADDITIVE_NAMES = INDEX_OPERATIONS | {"ValidateConstraint", "AddConstraintNotValid"}
# Arguments of a field that may change without any value in its column being rewritten.
HARMLESS_ARGUMENTS = frozenset(
    "blank choices default editable error_messages help_text limit_choices_to on_delete"
    " related_name related_query_name serialize validators verbose_name db_column db_comment"
    " db_collation db_constraint db_default db_index db_tablespace unique unique_for_date"
    " unique_for_month unique_for_year storage upload_to auto_now auto_now_add"
    " null max_length max_digits decimal_places".split()
)


class Reversal(StrEnum):
    """What undoing a migration would cost.

    UNPROVEN: it ran code or SQL of its author; nothing is lost only if that wrote no row of a
    table that was there before.
    """

    LOSSLESS = "lossless"
    UNPROVEN = "unproven"
    LOSSY = "lossy"
    IRREVERSIBLE = "irreversible"


COST = {reversal: cost for cost, reversal in enumerate(Reversal)}


@dataclass(frozen=True, slots=True)
class NewTable:
    """A table that undoing drops."""

    table: str


@dataclass(frozen=True, slots=True)
class NewColumn:
    """A column that undoing drops; `default` is what every row was given, if that is known."""

    table: str
    column: str
    field: models.Field[Any, Any]
    default: object
    is_default_known: bool


@dataclass(frozen=True, slots=True)
class WiderColumn:
    """A column that undoing makes narrower again; None where that limit is the same as before."""

    table: str
    column: str
    not_null: bool
    max_length: int | None
    decimal_places: int | None
    whole_digits: int | None


Effect = NewTable | NewColumn | WiderColumn


@dataclass(frozen=True, slots=True)
class Rename:
    """A table, or one column of it, that has another name afterwards."""

    table: str
    new_table: str
    column: str | None = None
    new_column: str | None = None

    def follow(self, effect: Effect) -> Effect:
        """Return the effect under the new name."""
        if effect.table != self.table:
            return effect
        if self.column is None:
            return replace(effect, table=self.new_table)
        if not isinstance(effect, NewTable) and effect.column == self.column:
            return replace(effect, column=str(self.new_column))
        return effect


def flat(operations: Sequence[Operation]) -> Iterator[Operation]:
    """The operations that reach the database, those behind a separate state too."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from flat(operation.database_operations)
        else:
            yield operation


def reversal_of(operation: Operation, app_label: str, state: ProjectState) -> Reversal:
    """Classify one operation, given the state before it; what nobody here knows is LOSSY."""
    if not operation.reversible:
        return Reversal.IRREVERSIBLE
    if isinstance(operation, PhasedOperation):
        return _of_phased(operation, app_label, state)
    return reversal_at_once(operation, app_label, state)


def reversal_at_once(operation: Operation, app_label: str, state: ProjectState) -> Reversal:
    """The same of one in two phases where both of them have run, without a look at its values."""
    if not operation.reversible:
        return Reversal.IRREVERSIBLE
    operation = getattr(operation, "operation", operation)
    if isinstance(operation, RunPython):
        return _of_code(operation.code is RunPython.noop, operation.code is RunPython.noop)
    if isinstance(operation, RunSQL):
        # What SQL made stays there if its reverse is none, so the schema would differ.
        return _of_code(operation.sql == RunSQL.noop, operation.reverse_sql == RunSQL.noop)
    if isinstance(operation, AlterField):
        return _of_alter(operation, app_label, state)
    return Reversal.LOSSLESS if _is_additive(operation) else Reversal.LOSSY


def _is_additive(operation: Operation) -> bool:
    if isinstance(operation, AlterOrderWithRespectTo) and not operation.order_with_respect_to:
        return False  # the column with the order is dropped
    return isinstance(operation, ADDITIVE) or type(operation).__name__ in ADDITIVE_NAMES


def _of_phased(operation: PhasedOperation, app_label: str, state: ProjectState) -> Reversal:
    """What waits has not run, and what was relaxed for it can be made strict again."""
    if conf.two_phase:
        return Reversal.LOSSLESS
    plain = getattr(operation, "operation", None)
    return reversal_of(plain, app_label, state) if plain else Reversal.LOSSY


def _of_code(does_nothing: bool, gives_nothing_back: bool) -> Reversal:
    if does_nothing:
        return Reversal.LOSSLESS
    return Reversal.LOSSY if gives_nothing_back else Reversal.UNPROVEN


def _of_alter(operation: AlterField, label: str, state: ProjectState) -> Reversal:
    """Tell whether altering back can restore each value: same kind of column, only wider."""
    if _model(operation, label, state) is None:
        return Reversal.LOSSY
    old, new = _altered(operation, label, state)
    if old.null and not new.null:
        return Reversal.LOSSY  # NULLs were replaced, or there were none: the data does not tell
    if type(old) is not type(new) or _target(old) != _target(new):
        return Reversal.LOSSY
    if _changed_arguments(old, new) - HARMLESS_ARGUMENTS:
        return Reversal.LOSSY
    is_wider = all(after >= before for after, before in zip(_width(new), _width(old), strict=True))
    return Reversal.LOSSLESS if is_wider else Reversal.LOSSY


def _altered(
    operation: AlterField, label: str, state: ProjectState
) -> tuple[models.Field[Any, Any], models.Field[Any, Any]]:
    return state.models[label, operation.model_name_lower].fields[operation.name], operation.field


def _changed_arguments(old: models.Field[Any, Any], new: models.Field[Any, Any]) -> set[str]:
    before, after = old.deconstruct()[3], new.deconstruct()[3]
    missing = object()
    return {
        name
        for name in (before.keys() | after.keys()) - {"to"}  # compared by _target
        if before.get(name, missing) != after.get(name, missing)
    }


def _width(field: models.Field[Any, Any]) -> tuple[float, float, float]:
    """Length, digits before the point and after it; what is not given is without limit."""
    length = getattr(field, "max_length", None) or inf
    digits, decimals = (getattr(field, each, None) for each in ("max_digits", "decimal_places"))
    if digits is None or decimals is None:
        return length, inf, inf
    return length, digits - decimals, decimals


def effects_of(operation: Operation, app_label: str, state: ProjectState) -> Iterator[Effect]:
    """What undoing the operation drops or narrows; `state` is the one before it."""
    if isinstance(operation, CreateModel):
        yield from _new_tables(operation, app_label)
        return
    model = _model(operation, app_label, state)
    if model is None or not is_managed(model):
        return
    table = table_of(app_label, model)
    if isinstance(operation, AddField):
        yield from _through(operation.name, operation.field, table)
        yield from _new_column(operation.name, operation.field, table)
    elif isinstance(operation, AlterOrderWithRespectTo) and operation.order_with_respect_to:
        yield from _new_column("_order", models.IntegerField(default=0), table)
    # What Contract holds is altered at once where it only loosens.
    elif isinstance(held := getattr(operation, "operation", operation), AlterField):
        yield from _wider_column(held, app_label, state, table)


def _new_tables(operation: CreateModel, app_label: str) -> Iterator[Effect]:
    model = ModelState(app_label, operation.name, operation.fields, dict(operation.options))
    if is_managed(model):
        yield NewTable(table_of(app_label, model))
        for name, field in model.fields.items():
            yield from _through(name, field, table_of(app_label, model))


def _through(name: str, field: models.Field[Any, Any], table: str) -> Iterator[Effect]:
    if isinstance(field, models.ManyToManyField) and not _has_own_model(field):
        given: str | None = field.db_table  # type: ignore[attr-defined]
        yield NewTable(given or truncate_name(f"{table}_{name}", MAX_IDENTIFIER))


def _has_own_model(field: models.ManyToManyField[Any, Any]) -> bool:
    through = field.remote_field.through
    return through is not None and not getattr(getattr(through, "_meta", None), "auto_created", 0)


def _new_column(name: str, field: models.Field[Any, Any], table: str) -> Iterator[Effect]:
    if isinstance(field, models.ManyToManyField | models.GeneratedField):
        return  # no column, or one that holds nothing of its own
    default, is_known = _default(field)
    yield NewColumn(table, column_of(name, field), field, default, is_known)


def _default(field: models.Field[Any, Any]) -> tuple[object, bool]:
    """What every row gets with the new column, and whether that can be known beforehand."""
    is_called = field.has_default() and callable(field.default)
    is_computed = is_called or getattr(field, "auto_now_add", False)
    if is_computed or getattr(field, "auto_now", False) or field.has_db_default():
        return None, False
    if field.remote_field is not None:
        return None, not field.has_default()  # Django asks the model, which a state only names
    # pylint: disable-next=protected-access  # what Django itself fills the column with
    return BaseDatabaseSchemaEditor._effective_default(field), True  # type: ignore[attr-defined]


def _wider_column(
    operation: AlterField, label: str, state: ProjectState, table: str
) -> Iterator[Effect]:
    old, new = _altered(operation, label, state)
    before, after = _width(old), _width(new)
    effect = WiderColumn(
        table,
        column_of(operation.name, new),
        not_null=new.null and not old.null,
        max_length=int(before[0]) if after[0] > before[0] else None,
        decimal_places=int(before[2]) if after[2] > before[2] else None,
        whole_digits=int(before[1]) if after[1] > before[1] else None,
    )
    if effect != WiderColumn(table, effect.column, False, None, None, None):
        yield effect


def renames_of(operation: Operation, app_label: str, before: ProjectState) -> Iterator[Rename]:
    """The tables and columns that have another name after the operation."""
    model = _model(operation, app_label, before)
    if model is None:
        return
    table = table_of(app_label, model)
    if isinstance(held := getattr(operation, "operation", None), RenameModel):
        operation = held  # the one of which Contract renames the table at once
    if isinstance(operation, RenameModel | AlterModelTable):
        after = before.clone()
        operation.state_forwards(app_label, after)
        name = operation.new_name if isinstance(operation, RenameModel) else operation.name
        yield Rename(table, table_of(app_label, after.models[app_label, name.lower()]))
    elif isinstance(operation, RenameField):
        old, new = model.fields[operation.old_name], operation.new_name
        yield Rename(table, table, column_of(operation.old_name, old), column_of(new, old))
    elif isinstance(operation, AlterField) and operation.name in model.fields:
        old_column = column_of(operation.name, model.fields[operation.name])
        yield Rename(table, table, old_column, column_of(operation.name, operation.field))


def _model(operation: Operation, app_label: str, state: ProjectState) -> ModelState | None:
    name = model_name(operation)
    return state.models.get((app_label, name.lower())) if name else None


def model_name(operation: Operation) -> str:
    """Name of the model that an operation is about, empty for code and SQL."""
    if isinstance(operation, RenameModel):
        return operation.old_name
    if isinstance(operation, PhasedOperation):
        return operation.subject or ""
    return getattr(operation, "model_name", None) or getattr(operation, "name", None) or ""


def is_managed(model: ModelState) -> bool:
    """Whether Django makes a table for the model."""
    return bool(model.options.get("managed", True)) and not model.options.get("proxy", False)


def table_of(app_label: str, model: ModelState) -> str:
    """Name of a model's table."""
    default = truncate_name(f"{app_label}_{model.name_lower}", MAX_IDENTIFIER)
    return str(model.options.get("db_table") or default)


def column_of(name: str, field: models.Field[Any, Any]) -> str:
    """Name of a field's column; the fields of a state are not bound to a model."""
    return field.db_column or (f"{name}_id" if field.remote_field is not None else name)


def _target(field: models.Field[Any, Any]) -> object:
    target = getattr(field.remote_field, "model", None)
    return target.lower() if isinstance(target, str) else target


def follow(effects: Iterable[Effect], renames: Iterable[Rename]) -> list[Effect]:
    """Return the effects under the names that they have after the renames."""
    found = list(effects)
    for rename in renames:
        found = [rename.follow(effect) for effect in found]
    return found
