"""What operations on models, indexes and constraints do to tables."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models.constraints import BaseConstraint

from deploy_ops.databases.facts import Column
from deploy_ops.migrate.lint.alter_field import alter_relation, alter_through
from deploy_ops.migrate.lint.fields import gone_table, new_table
from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.scene import Scene, code_of, implicit_through, table_of

ALWAYS = Lock.ACCESS_EXCLUSIVE


def create_model(operation: Any, scene: Scene) -> Iterator[Impact]:
    """CREATE TABLE, with those of its many-to-many fields."""
    model = scene.new(operation.name)
    made = [
        model,
        *filter(None, map(implicit_through, model._meta.local_many_to_many)),
    ]
    for each in made:
        scene.world.created.add(table_of(each))
    for each in made:
        yield from new_table(each)


def delete_model(operation: Any, scene: Scene) -> Iterator[Impact]:
    """DROP TABLE, with those of its many-to-many fields."""
    model = scene.old(operation.name)
    cure = f'Contract(migrations.DeleteModel("{operation.name}"))'
    for each in [
        model,
        *filter(None, map(implicit_through, model._meta.local_many_to_many)),
    ]:
        yield from gone_table(each, cure)


def rename_model(operation: Any, scene: Scene) -> Iterator[Impact]:
    """RENAME TABLE, and what Django renames with it."""
    old, new = scene.old(operation.old_name), scene.new(operation.new_name)
    if table_of(old) != table_of(new):
        yield Impact(table=table_of(old), lock=ALWAYS)
        scene.world.rename(table_of(old), table_of(new))
    yield from _through_tables(old, new, scene)
    yield from alter_relation(old, new, scene)


def alter_model_table(operation: Any, scene: Scene) -> Iterator[Impact]:
    """RENAME TABLE."""
    old, new = scene.old(operation.name), scene.new(operation.name)
    if table_of(old) != table_of(new):
        yield Impact(table=table_of(old), lock=ALWAYS)
        scene.world.rename(table_of(old), table_of(new))
        yield from _through_tables(old, new, scene)


def _through_tables(old: Any, new: Any, scene: Scene) -> Iterator[Impact]:
    """The tables of many-to-many fields are named after the model, and so are their columns."""
    pairs = zip(old._meta.local_many_to_many, new._meta.local_many_to_many, strict=True)
    for before, after in pairs:
        yield from alter_through(before, after, scene)


def add_index(operation: Any, scene: Scene) -> Iterator[Impact]:
    """CREATE INDEX."""
    table = table_of(scene.new(operation.model_name))
    yield Impact(
        rule="L001",
        table=table,
        lock=Lock.SHARE,
        work=Work.BUILD,
        what=f"Building the index {operation.index.name} on {table}",
        cure=f'AddIndexOnline("{operation.model_name}", {code_of(operation.index)})',
    )


def add_index_concurrently(operation: Any, scene: Scene) -> Iterator[Impact]:
    """CREATE INDEX CONCURRENTLY, which nobody waits for."""
    table = table_of(scene.new(operation.model_name))
    yield Impact(table=table, lock=Lock.SHARE_UPDATE_EXCLUSIVE, work=Work.BUILD)


def remove_index(operation: Any, scene: Scene) -> Iterator[Impact]:
    """DROP INDEX, which locks the table for a moment."""
    table = table_of(scene.old(operation.model_name))
    yield Impact(
        rule="L002",
        table=table,
        lock=ALWAYS,
        what=f"Dropping the index {operation.name} locks {table}.",
        cure=f'RemoveIndexOnline("{operation.model_name}", "{operation.name}")',
    )


def remove_index_concurrently(operation: Any, scene: Scene) -> Iterator[Impact]:
    """DROP INDEX CONCURRENTLY."""
    yield Impact(table=table_of(scene.old(operation.model_name)), lock=Lock.SHARE_UPDATE_EXCLUSIVE)


def add_constraint(operation: Any, scene: Scene) -> Iterator[Impact]:
    """ADD CONSTRAINT, validated at once; a unique one may be an index only."""
    table = table_of(scene.new(operation.model_name))
    constraint: BaseConstraint = operation.constraint
    if isinstance(constraint, models.CheckConstraint):
        if proof := _proof(operation, scene):
            scene.world.not_null.add(proof)
        yield Impact(
            rule="L012",
            table=table,
            lock=ALWAYS,
            work=Work.SCAN,
            what=f"Adding the CHECK {constraint.name} to {table}",
            cure=f'EnforceCheck("{operation.model_name}", {code_of(constraint)})',
        )
    elif isinstance(constraint, models.UniqueConstraint):
        yield _unique(operation, constraint, table)
    else:
        yield Impact(
            rule="L015",
            table=table,
            lock=ALWAYS,
            work=Work.BUILD,
            what=f"Adding {constraint.name} to {table}, which has no form without a lock,",
            cure="# Run it in planned downtime: safe_migrate --exclusive",
        )


def _unique(operation: Any, constraint: models.UniqueConstraint, table: str) -> Impact:
    _, _, arguments = constraint.deconstruct()
    is_index = bool(
        constraint.expressions or {"condition", "include", "opclasses"} & arguments.keys()
    )
    return Impact(
        rule="L010",
        table=table,
        lock=Lock.SHARE if is_index else ALWAYS,
        work=Work.BUILD,
        what=f"Adding the unique constraint {constraint.name} to {table}",
        cure=f'EnforceUnique("{operation.model_name}", {code_of(constraint)})',
    )


def _proof(operation: Any, scene: Scene) -> Column | None:
    """The column for which the operation's CHECK says IS NOT NULL, and nothing else."""
    condition: Any = getattr(operation.constraint, "condition", None)
    children = getattr(condition, "children", [])
    if len(children) != 1 or condition.negated or not isinstance(children[0], tuple):
        return None
    name, _, kind = children[0][0].rpartition("__")
    if kind != "isnull" or children[0][1] is not False:
        return None
    model = scene.new(operation.model_name)
    return table_of(model), str(getattr(model._meta.get_field(name), "column"))


def add_constraint_not_valid(operation: Any, scene: Scene) -> Iterator[Impact]:
    """ADD CONSTRAINT ... NOT VALID."""
    table = table_of(scene.new(operation.model_name))
    if proof := _proof(operation, scene):
        scene.world.not_valid[operation.constraint.name] = proof
    yield Impact(table=table, lock=ALWAYS)


def validate_constraint(operation: Any, scene: Scene) -> Iterator[Impact]:
    """VALIDATE CONSTRAINT, which reads the table and lets others write."""
    if proof := scene.world.not_valid.pop(operation.name, None):
        scene.world.not_null.add(proof)
    yield Impact(
        table=table_of(scene.new(operation.model_name)),
        lock=Lock.SHARE_UPDATE_EXCLUSIVE,
        work=Work.SCAN,
    )


def remove_constraint(operation: Any, scene: Scene) -> Iterator[Impact]:
    """DROP CONSTRAINT, or DROP INDEX."""
    yield Impact(table=table_of(scene.old(operation.model_name)), lock=ALWAYS)


def alter_together(operation: Any, scene: Scene) -> Iterator[Impact]:
    """The old Meta.unique_together and Meta.index_together."""
    old, new = scene.old(operation.name), scene.new(operation.name)
    option = operation.option_name
    before = {tuple(each) for each in getattr(old._meta, option)}
    after = {tuple(each) for each in getattr(new._meta, option)}
    table, is_unique = table_of(new), option == "unique_together"
    if before - after:
        yield Impact(table=table, lock=ALWAYS)
    for fields in sorted(after - before):
        names = ", ".join(f'"{name}"' for name in fields)
        online = f'AddIndexOnline("{operation.name}", models.Index(fields=[{names}], name="..."))'
        yield Impact(
            rule="L010" if is_unique else "L001",
            table=table,
            lock=ALWAYS if is_unique else Lock.SHARE,
            work=Work.BUILD,
            what=f"Adding {option} ({', '.join(fields)}) to {table}",
            cure=f'EnforceUnique("{operation.name}", [{names}])' if is_unique else online,
        )


def alter_order(operation: Any, scene: Scene) -> Iterator[Impact]:
    """The column _order comes or goes."""
    yield Impact(table=table_of(scene.new(operation.name)), lock=ALWAYS)


def comment_on(operation: Any, scene: Scene) -> Iterator[Impact]:
    """COMMENT ON TABLE."""
    yield Impact(table=table_of(scene.new(operation.name)), lock=Lock.SHARE_UPDATE_EXCLUSIVE)
