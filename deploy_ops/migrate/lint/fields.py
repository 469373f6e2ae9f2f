"""What adding, removing and renaming a field does to tables."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from typing import Any

from django.db import models

from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.scene import (
    AnyField,
    Model,
    Scene,
    code_of,
    has_column,
    implicit_through,
    indexes_of,
    parent_of,
    table_of,
)
from deploy_ops.migrate.lint.volatility import has_volatile_default

ALWAYS = Lock.ACCESS_EXCLUSIVE
AUTO = ("AutoField", "BigAutoField", "SmallAutoField")


def add_field(operation: Any, scene: Scene) -> Iterator[Impact]:
    """ADD COLUMN, or the table of a many-to-many field."""
    model = scene.new(operation.model_name)
    each: AnyField = model._meta.get_field(operation.name)  # type: ignore[assignment]
    through = implicit_through(each)
    if through is not None:
        yield from new_table(through)
        scene.world.created.add(table_of(through))
    elif has_column(each):
        yield from _new_column(operation, scene, model, each)


def new_table(model: Model) -> Iterator[Impact]:
    """A new table asks for a lock on every table that its foreign keys point to."""
    for each in model._meta.local_fields:
        yield from _parent_locked(
            each, f"The foreign key of the new {table_of(model)}.{each.column}"
        )


def _parent_locked(each: AnyField, what: str) -> Iterator[Impact]:
    if (parent := parent_of(each)) and parent != table_of(each.model):
        yield Impact(
            rule="L013",
            table=parent,
            lock=Lock.SHARE_ROW_EXCLUSIVE,
            what=f"{what} locks {parent}, which it points to.",
        )


def _new_column(operation: Any, scene: Scene, model: Model, each: AnyField) -> Iterator[Impact]:
    table, name = table_of(model), f"{table_of(model)}.{each.column}"
    yield Impact(table=table, lock=ALWAYS)
    online = (
        f'AddFieldOnline("{operation.model_name}", "{operation.name}", {code_of(operation.field)})'
    )
    rewrite = _rewrite(scene, each, name)
    if rewrite:
        rule, what = rewrite
        yield Impact(rule=rule, table=table, lock=ALWAYS, work=Work.REWRITE, what=what, cure=online)
    elif count := indexes_of(scene, model, each):
        yield Impact(
            rule="L009",
            table=table,
            lock=ALWAYS,
            work=Work.BUILD,
            times=count,
            what=f"Adding {name} with {_indexes(each)} in the transaction that has just locked the "
            "table",
            cure=online,
        )
    if not rewrite and _is_checked(scene, each):
        yield Impact(
            rule="L012",
            what=f"Adding {name} with the CHECK of {type(each).__name__}",
            work=Work.SCAN,
            table=table,
            lock=ALWAYS,
            cure=online,
        )
    yield from _parent_locked(each, f"The foreign key of the new {name}")
    if parent_of(each) and _has_value(scene, each):
        yield Impact(
            rule="L011",
            table=table,
            lock=ALWAYS,
            work=Work.CHECK_KEYS,
            what=f"Adding {name} with a value and a foreign key",
            cure=online,
        )


def _rewrite(scene: Scene, each: AnyField, name: str) -> tuple[str, str] | None:
    """The rule and words for a column that is written into every row, if it is one."""
    if isinstance(each, models.GeneratedField):
        is_stored = getattr(each, "db_persist")
        return ("L008", f"Adding the stored generated column {name}") if is_stored else None
    if each.get_internal_type() in AUTO:
        return "L007", f"Adding {name}, which numbers every row,"
    if has_volatile_default(scene, each):
        return "L007", f"Adding {name} with a db_default that differs in each row"
    return None


def _is_checked(scene: Scene, each: AnyField) -> bool:
    return bool(each.db_parameters(connection=scene.connection)["check"])


def _has_value(scene: Scene, each: AnyField) -> bool:
    return each.has_db_default() or scene.editor.effective_default(each) is not None


def _indexes(each: AnyField) -> str:
    if each.unique:
        return "its unique index"
    return "the index of its foreign key" if each.remote_field else "its index"


def remove_field(operation: Any, scene: Scene) -> Iterator[Impact]:
    """DROP COLUMN, or the table of a many-to-many field."""
    model = scene.old(operation.model_name)
    each: AnyField = model._meta.get_field(operation.name)  # type: ignore[assignment]
    cure = f'Contract(migrations.RemoveField("{operation.model_name}", "{operation.name}"))'
    through = implicit_through(each)
    if through is not None:
        yield from gone_table(through, cure)
    elif has_column(each):
        yield Impact(table=table_of(model), lock=ALWAYS)
        yield from parent_unlinked(each, f"Removing {table_of(model)}.{each.column}", cure)


def gone_table(model: Model, cure: str) -> Iterator[Impact]:
    """A dropped table locks every table that its foreign keys point to."""
    yield Impact(table=table_of(model), lock=ALWAYS)
    for each in model._meta.local_fields:
        yield from parent_unlinked(each, f"Dropping {table_of(model)}", cure)


def parent_unlinked(each: AnyField, what: str, cure: str) -> Iterator[Impact]:
    """Dropping a foreign key drops its triggers on the parent, which takes the strongest lock."""
    if (parent := parent_of(each)) and parent != table_of(each.model):
        yield Impact(
            rule="L014",
            table=parent,
            lock=ALWAYS,
            what=f"{what} drops its foreign key, which locks {parent} too.",
            cure=cure,
        )


def rename_field(operation: Any, scene: Scene) -> Iterator[Impact]:
    """RENAME COLUMN; a column name of its own stays, and then nothing happens."""
    old = scene.old(operation.model_name)._meta.get_field(operation.old_name)
    new = scene.new(operation.model_name)._meta.get_field(operation.new_name)
    if getattr(old, "column", None) != getattr(new, "column", None):
        yield Impact(table=table_of(old.model), lock=ALWAYS)
