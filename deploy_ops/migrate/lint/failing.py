"""Operations that fail on the rows that are there, or take with them what nobody named."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.db import models

from deploy_ops.migrate.lint.scene import AnyField, Scene, code_of, has_column, table_of
from deploy_ops.migrate.lint.remark import Remark


def failing_remarks(operation: Any, scene: Scene) -> Iterator[Remark]:
    """What is known beforehand to fail, or to drop views."""
    kind = type(operation).__name__
    if kind == "AddField":
        yield from _add_field(operation, scene)
    elif kind == "RemoveField":
        each = scene.old(operation.model_name)._meta.get_field(operation.name)
        yield from _views_in_the_way(each, scene, scene.editor.sql_delete_column)
    elif kind == "DeleteModel":
        for each in scene.old(operation.name)._meta.local_fields:
            yield from _views_in_the_way(each, scene, scene.editor.sql_delete_table)
    elif kind == "AlterField":
        yield from _altered_under_view(operation, scene)


def _add_field(operation: Any, scene: Scene) -> Iterator[Remark]:
    model = scene.new(operation.model_name)
    each: Any = model._meta.get_field(operation.name)
    table = table_of(model)
    known = scene.world.table(table)
    if scene.world.is_free(table) or not has_column(each) or each.has_db_default():
        return
    place = f"{table}.{each.column}"
    online = f'AddFieldOnline("{operation.model_name}", "{operation.name}", {code_of(_null(each))})'
    default: Any = scene.editor.effective_default(each)
    if default is None:
        if not each.null and not _fills_itself(each):
            yield Remark(
                "L214",
                checks.ERROR,
                f"Adding {place} as NOT NULL without a value fails on the rows that {table} has.",
                online,
                table,
            )
        return
    has_many = known is None or known.likely_rows > 1
    if each.unique and has_many:
        yield Remark(
            "L208",
            checks.ERROR,
            f"Adding {place} gives every row the same value, and it is to be unique: this fails "
            f"on the rows that {table} has.",
            f"{online}\n# then Backfill(...), then EnforceUnique",
            table,
        )
    elif isinstance(each, models.UUIDField) and callable(each.default) and has_many:
        yield Remark(
            "L208",
            checks.WARNING,
            f"Adding {place} gives every row of {table} the same value: Django calls "
            f"{each.default.__name__} once.",
            f"{online}\n# then Backfill(...)",
            table,
        )


def _fills_itself(each: AnyField) -> bool:
    return isinstance(each, models.GeneratedField) or "AutoField" in each.get_internal_type()


def _null(each: AnyField) -> AnyField:
    """The field as it can be added first."""
    copy = each.clone()
    copy.null = True
    return copy


def _views_in_the_way(each: Any, scene: Scene, statement: str) -> Iterator[Remark]:
    """Columns are dropped without CASCADE from Django 6.0 on."""
    takes_all = "CASCADE" in statement
    told = (
        "Django's DROP ... CASCADE drops it too" if takes_all else "PostgreSQL refuses to drop it"
    )
    table = table_of(each.model)
    place = (scene.world.origin(table), getattr(each, "column", None) or "")
    for view in scene.world.facts.views.get(place, ()):
        yield Remark(
            "L211",
            checks.ERROR,
            f"The view {view} reads {table}.{each.column}: {told}.",
            f'migrations.RunSQL("DROP VIEW {view}", reverse_sql="CREATE VIEW {view} AS ...")',
            table,
        )


def _altered_under_view(operation: Any, scene: Scene) -> Iterator[Remark]:
    old: Any = scene.old(operation.model_name)._meta.get_field(operation.name)
    new: Any = scene.new(operation.model_name)._meta.get_field(operation.name)
    types = [each.db_parameters(connection=scene.connection)["type"] for each in (old, new)]
    table = table_of(old.model)
    if types[0] == types[1] or not has_column(old):
        return
    for view in scene.world.facts.views.get((scene.world.origin(table), old.column), ()):
        yield Remark(
            "L211",
            checks.ERROR,
            f"The view {view} reads {table}.{old.column}: PostgreSQL refuses to change its type.",
            f'migrations.RunSQL("DROP VIEW {view}", reverse_sql="CREATE VIEW {view} AS ...")',
            table,
        )
