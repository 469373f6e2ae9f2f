"""What would run: a Plan of Steps, decided from operations and states without a database."""

from __future__ import annotations  # Django's Field is generic in its stubs only

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import models
from django.db.migrations import Migration
from django.db.migrations.operations import (
    CreateModel,
    DeleteModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.state import ModelState, ProjectState

from deploy_ops.phases.waiting import Waiting
from deploy_ops.migrate.reversal import (
    COST,
    INDEX_OPERATIONS,
    Effect,
    NewTable,
    Rename,
    Reversal,
    effects_of,
    flat,
    follow,
    model_name,
    renames_of,
    reversal_of,
    table_of,
)

Key = tuple[str, str]
CHEAP_BYTES = 64 * 1024 * 1024
# A statement that ends the transaction it is in; ROLLBACK TO a savepoint does not.
ENDS_TRANSACTION = re.compile(
    r"(?:^|;)\s*(?:COMMIT|END|ABORT|ROLLBACK(?!\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b)"
    r"|PREPARE\s+TRANSACTION)\b",
    re.IGNORECASE,
)
TEXTS = re.compile(
    r"\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/"
    r"|\bBEGIN\s+ATOMIC\b.*?;\s*END\b|\bCREATE\s+(?:TEMP\w*\s+)?TRIGGER\b.*?;\s*END\b",
    re.IGNORECASE | re.DOTALL,
)
# SQL that is one statement which builds an index concurrently, without a schema in its names.
_NAME = r'"(?:[^"]|"")+"|[a-zA-Z_][\w$]*'
BUILDS_INDEX = re.compile(
    rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?P<name>{_NAME})\s+ON\s+"
    rf"(?P<table>{_NAME})\s*(?:USING\s+\w+\s*)?\([^;]*;?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Index:
    """An index that a step without a transaction builds or drops by itself."""

    name: str
    table: str
    is_built: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One migration of the plan, with what is known of it beforehand.

    `is_atomic` says that one transaction can hold it: not so where the migration refuses one, or
    its SQL ends the one it is in. `indexes` are all that a step does which only builds or drops
    indexes concurrently; None if it does anything else. `is_idempotent` says that all it does may
    be done again after it failed half-way. `contract` is what waited, where the step is its
    contract; then `name` is that of the migration and the path of the operation in it.
    """

    app: str
    name: str
    backwards: bool
    is_atomic: bool
    operations: tuple[str, ...]
    reversal: Reversal
    tables: tuple[str, ...]
    runs_code: bool
    renames_models: bool = False
    effects: tuple[Effect, ...] = dataclasses.field(default=(), repr=False)
    renames: tuple[Rename, ...] = ()
    indexes: tuple[Index, ...] | None = None
    is_idempotent: bool = False
    contract: Waiting | None = dataclasses.field(default=None, repr=False)

    @property
    def key(self) -> Key:
        """App label and name, as in django_migrations."""
        return self.app, self.name

    def __str__(self) -> str:
        return f"{self.app}.{self.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in order; `is_way_back` where they undo earlier ones, and nothing may be lost."""

    steps: tuple[Step, ...]
    is_way_back: bool = False

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def is_contract(self) -> bool:
        """Whether it runs what has waited, and no migration."""
        return any(step.contract for step in self.steps)

    @property
    def tables(self) -> frozenset[str]:
        """Every table a step names."""
        return frozenset(table for step in self.steps for table in step.tables)

    @property
    def fits_one_transaction(self) -> bool:
        """Whether one transaction can hold all of it: every step atomic and forwards."""
        return all(step.is_atomic and not step.backwards for step in self.steps)

    def groups(self, sizes_bytes: Mapping[str, int]) -> Iterator[tuple[Step, ...]]:
        """The steps as they are committed: in a row together where that is cheap, else one by one.

        Cheap means that holding all their locks to the end is short: no code, small tables only.
        """
        for may_share, row in groupby(self.steps, _may_share):
            steps = tuple(row)
            tables = {table for step in steps for table in step.tables}
            is_small = sum(sizes_bytes.get(table, 0) for table in tables) <= CHEAP_BYTES
            yield from [steps] if may_share and is_small else [(step,) for step in steps]


def _may_share(step: Step) -> bool:
    return step.is_atomic and not (step.backwards or step.runs_code or step.contract)


def effects_after(steps: Iterable[Step]) -> list[Effect]:
    """What undoing all these steps would drop or narrow, under the names after the last of them.

    A new table takes its columns with it.
    """
    effects: list[Effect] = []
    for step in steps:
        effects = follow(effects, step.renames) + list(step.effects)
    new = {effect.table for effect in effects if isinstance(effect, NewTable)}
    return [each for each in effects if isinstance(each, NewTable) or each.table not in new]


def make_plan(migrations: Iterable[tuple[Migration, bool]], state: ProjectState) -> Plan:
    """Describe Django's plan, starting from (a copy of) the state of the applied migrations."""
    state = state.clone()
    return Plan(tuple(_step(migration, backwards, state) for migration, backwards in migrations))


@dataclass
class _Seen:
    """What the operations of one migration come to."""

    reversals: list[Reversal] = dataclasses.field(default_factory=list)
    tables: dict[str, None] = dataclasses.field(default_factory=dict)
    effects: list[Effect] = dataclasses.field(default_factory=list)
    renames: list[Rename] = dataclasses.field(default_factory=list)


def _step(migration: Migration, backwards: bool, state: ProjectState) -> Step:
    label = migration.app_label
    # A step back drops what the migration made; applying it again brings back no data.
    seen = _Seen([Reversal.LOSSY if backwards else Reversal.LOSSLESS])
    for operation in migration.operations:
        _look_at(operation, label, state, seen, backwards)
    operations = list(flat(migration.operations))
    return Step(
        app=label,
        name=migration.name,
        backwards=backwards,
        is_atomic=migration.atomic and not any(map(_ends_transaction, operations)),
        operations=tuple(operation.describe() for operation in migration.operations),
        reversal=max(seen.reversals, key=COST.__getitem__),
        tables=tuple(seen.tables),
        runs_code=any(map(_runs_code, operations)),
        renames_models=any(type(each).__name__ == "RenameModel" for each in operations),
        effects=tuple(seen.effects),
        renames=tuple(seen.renames),
        indexes=None if backwards else _indexes(operations, label, state),
        is_idempotent=bool(operations) and all(map(_is_idempotent, operations)),
    )


def _look_at(
    operation: Operation, label: str, state: ProjectState, seen: _Seen, backwards: bool
) -> None:
    """Add an operation, and bring the state behind it.

    The database operations behind a separate state start from a state of their own, as Django
    runs them: both lists may remove the same field.
    """
    if isinstance(operation, SeparateDatabaseAndState):
        inner = state.clone()
        for each in operation.database_operations:
            _look_at(each, label, inner, seen, backwards)
    elif backwards:
        # The state is the one of all that is applied, and later steps may have changed its models.
        seen.reversals.append(Reversal.LOSSY if operation.reversible else Reversal.IRREVERSIBLE)
        seen.tables |= dict.fromkeys(_tables(operation, label, state))
    else:
        seen.reversals.append(reversal_of(operation, label, state))
        seen.tables |= dict.fromkeys(_tables(operation, label, state))
        renames = list(renames_of(operation, label, state))
        seen.effects = follow(seen.effects, renames) + list(effects_of(operation, label, state))
        seen.renames += renames
    if not backwards:
        operation.state_forwards(label, state)
        seen.tables |= dict.fromkeys(_tables(operation, label, state))


def _runs_code(operation: Operation) -> bool:
    """What others have written may do anything, as may what these two are given."""
    is_known = type(operation).__module__.startswith(("django.", "deploy_ops."))
    return isinstance(operation, RunPython | RunSQL) or not is_known


def _is_idempotent(operation: Operation) -> bool:
    return bool(getattr(operation, "is_idempotent", False))  # said by those of deploy_ops.phases


def _ends_transaction(operation: Operation) -> bool:
    if not isinstance(operation, RunSQL):
        return False
    statements = operation.sql if isinstance(operation.sql, list | tuple) else [operation.sql]
    texts = [each if isinstance(each, str) else each[0] for each in statements]
    return any(ends_transaction(text) for text in texts)


def ends_transaction(sql: str) -> bool:
    """Whether SQL has a statement that ends the transaction it runs in.

    Bodies of functions and triggers, which have an END of their own, and texts do not count.
    """
    return bool(ENDS_TRANSACTION.search(TEXTS.sub(" ", sql)))


def _indexes(
    operations: list[Operation], label: str, state: ProjectState
) -> tuple[Index, ...] | None:
    indexes = [_index(operation, label, state) for operation in operations]
    return tuple(each for each in indexes if each) if indexes and all(indexes) else None


def _index(operation: Any, label: str, state: ProjectState) -> Index | None:
    """The one index that an operation builds or drops concurrently; None if it does more."""
    if isinstance(operation, RunSQL) and isinstance(operation.sql, str):
        built = BUILDS_INDEX.fullmatch(operation.sql)
        return Index(_unquoted(built["name"]), _unquoted(built["table"]), True) if built else None
    if type(operation).__name__ not in INDEX_OPERATIONS:
        return None
    table = table_of(label, state.models[label, operation.model_name_lower])
    is_built = type(operation).__name__ == "AddIndexConcurrently"
    return Index(operation.index.name if is_built else operation.name, table, is_built)


def _unquoted(name: str) -> str:
    """A name in SQL as the catalog has it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def _tables(operation: Operation, app_label: str, state: ProjectState) -> Iterable[str]:
    """Tables the operation names: its model's and those its foreign keys point to.

    PostgreSQL locks the parent too when a foreign key comes or goes.
    """
    name = model_name(operation)
    model = state.models.get((app_label, name.lower())) if name else None
    if model is None:
        return
    yield table_of(app_label, model)
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
            yield table_of(label or app_label, parent)
