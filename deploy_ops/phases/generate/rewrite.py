"""The changes that Django has found, operation by operation in their safe form.

What may stand in a transaction stays together, table by table; what commits on its way gets a
migration of its own, so that a run that was killed goes on there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations import (
    AlterModelTable,
    CreateModel,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from deploy_ops.phases.generate.forms import safe_form
from deploy_ops.phases.generate.naming import NamedMigration
from deploy_ops.phases.generate.scene import ModelKey, Scene, judging_connection, subject_of
from deploy_ops.phases.operations.backfill import Backfill
from deploy_ops.phases.operations.change_type_online import ChangeTypeOnline
from deploy_ops.phases.operations.contract import Contract
from deploy_ops.phases.operations.enforce_not_null import EnforceNotNull
from deploy_ops.phases.operations.online import OnlineOperation, PhasedOnline
from deploy_ops.phases.operations.rename_field_online import RenameFieldOnline

COMMITS_ON_ITS_WAY = (Backfill, OnlineOperation, PhasedOnline, RenameFieldOnline)
FILLS = (Backfill, ChangeTypeOnline, EnforceNotNull, RenameFieldOnline)
OURS = (Contract, *COMMITS_ON_ITS_WAY)

Changes = dict[str, list[Migration]]
Key = tuple[str, str]


def rewrite(changes: Changes, start: ProjectState) -> Changes:
    """Split each migration into those of the safe form; raises NotInTwoPhases."""
    start, state = start.clone(), start.clone()
    new_models = frozenset(created(changes)) - frozenset(start.models)
    connection = judging_connection()
    split: dict[Key, list[Migration]] = {}
    for migration in in_order(changes):
        groups = [Group()]
        for operation in _tables_kept_first(_dropped_whole(migration, state)):
            before, state = state, state.clone()
            operation.state_forwards(migration.app_label, state)
            scene = Scene(migration.app_label, start, before, state, new_models, connection)
            for each in safe_form(operation, scene):
                place(groups, each, scene)
        split[_key(migration)] = list(_migrations(migration, groups))
    _follow(split)
    return {
        app: [each for old in migrations for each in split[_key(old)]]
        for app, migrations in changes.items()
    }


@dataclass
class Group:
    """Operations of one migration to be; `tables` are the models whose rows they meet."""

    operations: list[Operation] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    atomic: bool = True


def place(groups: list[Group], operation: Operation, scene: Scene) -> None:
    """Put an operation into the last group, or a new one behind it."""
    atomic = not isinstance(operation, COMMITS_ON_ITS_WAY)
    inner = operation.operation if isinstance(operation, Contract) else operation
    model = subject_of(inner).lower()
    tables = {model} if scene.touches_rows(model) else set()
    last = groups[-1]
    fits = atomic and last.atomic and len(last.tables | tables) < 2
    if last.operations and not fits:
        last = Group(atomic=atomic)
        groups.append(last)
    last.atomic = atomic
    last.operations.append(operation)
    last.tables |= tables


def in_order(changes: Changes) -> Sequence[Migration]:
    """The migrations of all apps, each behind those that it depends on."""
    by_key = {_key(each): each for migrations in changes.values() for each in migrations}
    ordered: dict[Key, Migration] = {}

    def visit(migration: Migration) -> None:
        if _key(migration) in ordered:
            return
        for dependency in migration.dependencies:
            if (needed := by_key.get((dependency[0], dependency[1]))) is not None:
                visit(needed)
        ordered[_key(migration)] = migration

    for migration in by_key.values():
        visit(migration)
    return list(ordered.values())


def _migrations(migration: Migration, groups: Sequence[Group]) -> Iterator[Migration]:
    """A migration for each group: the first with the dependencies of all, the rest behind it."""
    previous = None
    for number, group in enumerate(groups):
        # The stubs take what instances have for variables of the class.
        each: Any = NamedMigration(f"{migration.name}_{number}", migration.app_label)
        each.operations, each.atomic = group.operations, group.atomic
        each.initial = migration.initial and previous is None
        each.dependencies = list(migration.dependencies) if previous is None else [_key(previous)]
        each.dependencies += needs_of_ours(group.operations)
        previous = each
        yield each


def needs_of_ours(operations: Iterable[Operation]) -> Iterator[Key]:
    """The migrations that make the tables in which operations of ours keep what waits."""
    operations = list(operations)
    if any(isinstance(each, FILLS) for each in operations):
        yield "deploy_ops", "0003_backfill"
    elif any(isinstance(each, OURS) for each in operations):
        yield "deploy_ops", "0002_contract_rows"


def _dropped_whole(migration: Migration, state: ProjectState) -> Sequence[Operation]:
    """Without what goes with its table: Django 6 removes its indexes and constraints before it.

    They stay where they may name a field that is removed before the table.
    """
    deleted = {each.name_lower for each in migration.operations if isinstance(each, DeleteModel)}
    fields = [each for each in migration.operations if isinstance(each, RemoveField)]

    def goes_with_its_table(operation: Operation) -> bool:
        if not isinstance(operation, RemoveIndex | RemoveConstraint):
            return False
        model = operation.model_name_lower
        if model not in deleted:
            return False
        options = state.models[migration.app_label, model].options
        parts = [*options.get("indexes", ()), *options.get("constraints", ())]
        text = "".join(repr(each.deconstruct()) for each in parts if each.name == operation.name)
        return not any(each.name in text for each in fields if each.model_name_lower == model)

    return [each for each in migration.operations if not goes_with_its_table(each)]


def _tables_kept_first(operations: Sequence[Operation]) -> Sequence[Operation]:
    """A model that is renamed and keeps its table keeps it from the first: nothing is renamed."""
    ordered: list[Operation] = []
    for each in operations:
        renames = [at for at, other in enumerate(ordered) if isinstance(other, RenameModel)]
        at = next((at for at in renames if _is_of_new_name(each, ordered[at])), None)
        if at is None:
            ordered.append(each)
        else:
            ordered.insert(at, AlterModelTable(ordered[at].old_name, each.table))  # type: ignore[attr-defined]
    return ordered


def _is_of_new_name(operation: Operation, rename: Operation) -> bool:
    return (
        isinstance(operation, AlterModelTable)
        and isinstance(rename, RenameModel)
        and operation.name_lower == rename.new_name_lower
    )


def _follow(split: dict[Key, list[Migration]]) -> None:
    """Let what depended on a migration depend on the last one of those that it became."""
    last = {old: _key(new[-1]) for old, new in split.items()}
    each: Any
    for each in (each for migrations in split.values() for each in migrations):
        each.dependencies = [last.get(key, key) for key in each.dependencies]


def created(changes: Changes) -> Iterator[ModelKey]:
    """The models that the migrations make."""
    for app, migrations in changes.items():
        for migration in migrations:
            for operation in migration.operations:
                if isinstance(operation, CreateModel):
                    yield app, operation.name_lower


def _key(migration: Migration) -> Key:
    return migration.app_label, migration.name
