"""From an operation to what it does, by the class of the operation."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from django.db.migrations.operations.base import Operation

from deploy_ops.migrate.lint import fields, tables
from deploy_ops.migrate.lint.alter_field import alter_field
from deploy_ops.migrate.lint.code import code_impacts
from deploy_ops.migrate.lint.impact import Impact
from deploy_ops.migrate.lint.parsing import statements_of
from deploy_ops.migrate.lint.scene import Model, Scene
from deploy_ops.migrate.lint.statements import impacts_of_statement
from deploy_ops.migrate.reversal import model_name

Reader = Callable[[Any, Scene], Iterator[Impact]]


def _nothing(_operation: Operation, _scene: Scene) -> Iterator[Impact]:
    return iter(())


def _run_python(operation: Any, scene: Scene) -> Iterator[Impact]:
    atomic = scene.is_atomic if operation.atomic is None else operation.atomic
    return code_impacts(operation, scene, atomic)


def _run_sql(operation: Any, scene: Scene) -> Iterator[Impact]:
    """The statements that could be read; those that could not have a finding of their own."""
    parsed = statements_of(operation.sql)
    for node in parsed if isinstance(parsed, list) else ():
        yield from impacts_of_statement(node, scene.world)


# By name, since those of django.contrib.postgres need psycopg.
READERS: dict[str, Reader] = {
    "AddConstraint": tables.add_constraint,
    "AddConstraintNotValid": tables.add_constraint_not_valid,
    "AddField": fields.add_field,
    "AddIndex": tables.add_index,
    "AddIndexConcurrently": tables.add_index_concurrently,
    "AlterConstraint": _nothing,
    "AlterField": alter_field,
    "AlterIndexTogether": tables.alter_together,
    "AlterModelManagers": _nothing,
    "AlterModelOptions": _nothing,
    "AlterModelTable": tables.alter_model_table,
    "AlterModelTableComment": tables.comment_on,
    "AlterOrderWithRespectTo": tables.alter_order,
    "AlterUniqueTogether": tables.alter_together,
    "CreateModel": tables.create_model,
    "DeleteModel": tables.delete_model,
    "RemoveConstraint": tables.remove_constraint,
    "RemoveField": fields.remove_field,
    "RemoveIndex": tables.remove_index,
    "RemoveIndexConcurrently": tables.remove_index_concurrently,
    "RenameField": fields.rename_field,
    "RenameIndex": _nothing,
    "RenameModel": tables.rename_model,
    "RunPython": _run_python,
    "RunSQL": _run_sql,
    "ValidateConstraint": tables.validate_constraint,
}
EXTENSIONS = "django.contrib.postgres.operations"


def is_online(operation: Operation) -> bool:
    """Whether the operation says of itself that nobody waits for it."""
    return bool(getattr(operation, "is_online", False))


def is_known(operation: Operation) -> bool:
    """Whether what the operation does is what Django's operation of that name does."""
    kind = type(operation)
    module = kind.__module__
    return module.startswith("django.db.migrations.operations") or module == EXTENSIONS


def impacts_of(operation: Operation, scene: Scene) -> Iterator[Impact]:
    """What the operation does to tables of this database, without what reaches none.

    Elsewhere than on PostgreSQL only new tables are noted.
    """
    name = type(operation).__name__
    if not scene.world.facts.server_version and name != "CreateModel":
        return
    reader = READERS.get(name, _nothing)
    model = _model(operation, scene)
    if model is None or scene.allows(operation, model):
        yield from reader(operation, scene)


def _model(operation: Operation, scene: Scene) -> Model | None:
    """The model that routers are asked about; code and SQL have none."""
    name = model_name(operation)
    for apps in (scene.before, scene.after) if name else ():
        with suppress(LookupError):
            return apps.get_model(scene.app_label, name)
    return None
