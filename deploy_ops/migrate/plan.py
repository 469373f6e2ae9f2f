"""What would run: a Plan of Steps, decided from operations and states without a database."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import models
from django.db.backends.utils import truncate_name
from django.db.migrations import Migration
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
    DeleteModel,
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
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.operations.models import ModelOperation
from django.db.migrations.state import ModelState, ProjectState

Key = tuple[str, str]
MAX_IDENTIFIER = 63
CHEAP_BYTES = 64 * 1024 * 1024

# Reversing these drops or renames what they made, and touches no row that was there before.
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


class Reversal(StrEnum):
    """What undoing a migration would cost."""

    LOSSLESS = "lossless"
    LOSSY = "lossy"
    IMPOSSIBLE = "impossible"


_COST = {Reversal.LOSSLESS: 0, Reversal.LOSSY: 1, Reversal.IMPOSSIBLE: 2}


@dataclass(frozen=True, slots=True)
class Step:
    """One migration of the plan, with what is known of it beforehand."""

    app: str
    name: str
    backwards: bool
    is_atomic: bool
    operations: tuple[str, ...]
    reversal: Reversal
    tables: tuple[str, ...]
    runs_code: bool

    @property
    def key(self) -> Key:
        """App label and name, as in django_migrations."""
        return self.app, self.name

    def __str__(self) -> str:
        return f"{self.app}.{self.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in order."""

    steps: tuple[Step, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def tables(self) -> frozenset[str]:
        """Every table a step names."""
        return frozenset(table for step in self.steps for table in step.tables)

    @property
    def fits_one_transaction(self) -> bool:
        """Whether one transaction can hold all of it: every step atomic and forwards."""
        return all(step.is_atomic and not step.backwards for step in self.steps)

    def is_cheap(self, sizes_bytes: Mapping[str, int]) -> bool:
        """Whether holding all its locks to the end is short: no code, and small tables only."""
        runs_code = any(step.runs_code for step in self.steps)
        return not runs_code and sum(sizes_bytes.values()) <= CHEAP_BYTES


def make_plan(migrations: Iterable[tuple[Migration, bool]], state: ProjectState) -> Plan:
    """Describe Django's plan, starting from (a copy of) the state of the applied migrations."""
    state = state.clone()
    return Plan(tuple(_step(migration, backwards, state) for migration, backwards in migrations))


def _step(migration: Migration, backwards: bool, state: ProjectState) -> Step:
    label = migration.app_label
    # A step back drops what the migration made; applying it again brings back no data.
    reversals = [Reversal.LOSSY if backwards else Reversal.LOSSLESS]
    tables: dict[str, None] = {}
    operations = list(_flat(migration.operations))
    for operation in operations:
        reversals.append(reversal_of(operation, label, state))
        tables |= dict.fromkeys(_tables(operation, label, state))
        if not backwards:
            operation.state_forwards(label, state)
            tables |= dict.fromkeys(_tables(operation, label, state))
    return Step(
        app=label,
        name=migration.name,
        backwards=backwards,
        is_atomic=migration.atomic,
        operations=tuple(operation.describe() for operation in migration.operations),
        reversal=max(reversals, key=lambda reversal: _COST[reversal]),
        tables=tuple(tables),
        runs_code=any(isinstance(operation, RunPython | RunSQL) for operation in operations),
    )


def _flat(operations: Sequence[Operation]) -> Iterable[Operation]:
    for operation in operations:
        yield operation
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)


def reversal_of(operation: Operation, app_label: str, state: ProjectState) -> Reversal:
    """Classify one operation, given the state before it.

    A reverse that its author wrote is trusted to give back what the forward direction took; a
    `noop` reverse gives nothing back. Operations that nobody here knows count as lossy.
    """
    if not operation.reversible:
        return Reversal.IMPOSSIBLE
    if isinstance(operation, AlterField):
        return _reversal_of_alter(operation, app_label, state)
    return Reversal.LOSSLESS if _gives_back(operation) else Reversal.LOSSY


def _gives_back(operation: Operation) -> bool:
    if isinstance(operation, RunPython):
        is_noop = operation.reverse_code is RunPython.noop
        return not is_noop or operation.code is RunPython.noop
    if isinstance(operation, RunSQL):
        return operation.reverse_sql != RunSQL.noop or operation.sql == RunSQL.noop
    # Database operations behind a separate state are classified on their own. ValidateConstraint
    # is known by its name, since its module needs psycopg, which SQLite does without.
    return (
        isinstance(operation, (*ADDITIVE, SeparateDatabaseAndState))
        or type(operation).__name__ == "ValidateConstraint"
    )


def _reversal_of_alter(operation: AlterField, label: str, state: ProjectState) -> Reversal:
    """Tell whether altering back restores each value: same kind of column, only wider."""
    model = state.models[label, operation.model_name_lower]
    old, new = model.fields[operation.name], operation.field
    if old.null and not new.null:
        return Reversal.LOSSY  # NULLs were replaced, or there were none: the data does not tell
    if type(old) is not type(new):
        return Reversal.LOSSY
    is_wider = all(after >= before for after, before in zip(_width(new), _width(old), strict=True))
    same_target = _target(old) == _target(new)
    return Reversal.LOSSLESS if is_wider and same_target else Reversal.LOSSY


def _width(field: models.Field[Any, Any]) -> tuple[float, int, int]:
    """Length, digits before the point and after it; no length means without limit."""
    length = getattr(field, "max_length", None) or float("inf")
    decimals = getattr(field, "decimal_places", None) or 0
    return length, (getattr(field, "max_digits", None) or 0) - decimals, decimals


def _tables(operation: Operation, app_label: str, state: ProjectState) -> Iterable[str]:
    """Tables the operation names: its model's and those its foreign keys point to.

    PostgreSQL locks the parent too when a foreign key comes or goes.
    """
    name = _model_name(operation)
    model = state.models.get((app_label, name.lower())) if name else None
    if model is None:
        return
    yield _table(app_label, model)
    for field in _fields(operation, model):
        yield from _parents(field, app_label, state)


def _fields(operation: Operation, model: ModelState) -> list[models.Field[Any, Any]]:
    """The fields whose foreign keys come or go with the operation."""
    if isinstance(operation, CreateModel | DeleteModel):
        return list(model.fields.values())
    if isinstance(operation, FieldOperation) and operation.name in model.fields:
        return [model.fields[operation.name]]
    return []


def _target(field: models.Field[Any, Any]) -> object:
    return getattr(field.remote_field, "model", None)


def _parents(field: models.Field[Any, Any], app_label: str, state: ProjectState) -> Iterable[str]:
    target = _target(field)
    if isinstance(target, str):
        label, _, name = target.lower().rpartition(".")
        parent = state.models.get((label or app_label, name))
        if parent is not None:
            yield _table(label or app_label, parent)


def _model_name(operation: Operation) -> str:
    if isinstance(operation, RenameModel):
        return operation.old_name
    if isinstance(operation, ModelOperation):
        return operation.name
    return getattr(operation, "model_name", "")


def _table(app_label: str, model: ModelState) -> str:
    default = truncate_name(f"{app_label}_{model.name_lower}", MAX_IDENTIFIER)
    return str(model.options.get("db_table") or default)
