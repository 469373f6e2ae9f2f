"""Operations on tables that the plan itself makes: told by names alone, without rendering models.

On a new database that is every operation, and rendering takes as long as migrating.
"""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations.operations import AddField, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from deploy_ops.migrate.lint.scene import AnyField, World
from deploy_ops.migrate.reversal import NewTable, effects_of, model_name, table_of

# Those whose every effect lies in the model's own table and those that its fields point to.
SIMPLE = frozenset(
    "AddConstraint AddField AddIndex AlterField AlterModelManagers AlterModelOptions"
    " AlterUniqueTogether CreateModel RemoveConstraint RemoveField RemoveIndex RenameField".split()
)


def is_nobodys(operation: Operation, label: str, state: ProjectState, world: World) -> bool:
    """Whether nobody can use what the operation touches; notes the tables that it makes."""
    if type(operation).__name__ not in SIMPLE:
        return False
    made = set(tables_made(operation, label, state))
    model = state.models.get((label, model_name(operation).lower()))
    known = world.created | made
    own = table_of(label, model) if model else None
    if own is not None and own not in known or not made and own is None:
        return False
    if not set(_targets(operation, label, state, made)) <= known:
        return False
    world.created |= made
    return True


def tables_made(operation: Any, label: str, state: ProjectState) -> Iterator[str]:
    """The tables that an operation makes, by names as they are in a state."""
    if isinstance(operation, CreateModel) or _is_many_to_many(operation):
        for each in effects_of(operation, label, state):
            if isinstance(each, NewTable):
                yield each.table


def _is_many_to_many(operation: Any) -> bool:
    return isinstance(operation, AddField) and bool(operation.field.many_to_many)


def _targets(
    operation: Any, label: str, state: ProjectState, made: set[str]
) -> Iterator[str | None]:
    """Tables that the operation's fields point to, None for one that is not known."""
    fields: Iterable[Any] = [field for _, field in getattr(operation, "fields", None) or ()]
    if getattr(operation, "field", None) is not None:
        fields = [operation.field]
    elif getattr(operation, "name", None) and not made:
        model = state.models[label, model_name(operation).lower()]
        fields = [model.fields[operation.name]] if operation.name in model.fields else []
    for each in fields:
        yield from _target(each, label, state, operation)


def _target(
    each: AnyField, label: str, state: ProjectState, operation: Any
) -> Iterator[str | None]:
    if each.remote_field is None:
        return
    target = getattr(each.remote_field, "model", None)
    if target == "self":
        return
    word = target if isinstance(target, str) else getattr(target, "_meta").label
    app, _, name = word.lower().rpartition(".")
    key = (app or label, name)
    if isinstance(operation, CreateModel) and key == (label, operation.name_lower):
        return  # a model that points to itself
    model = state.models.get(key)
    yield table_of(key[0], model) if model else None
