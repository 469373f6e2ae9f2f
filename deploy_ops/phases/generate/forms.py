"""The safe form of each operation that the autodetector writes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import models
from django.db.migrations import operations as django
from django.db.migrations.operations.base import Operation

from deploy_ops.phases.generate.additions import add_field, rename_field
from deploy_ops.phases.generate.alterations import alter_field
from deploy_ops.phases.generate.refusal import refusal
from deploy_ops.phases.generate.scene import Scene, subject_of
from deploy_ops.phases.operations.add_index_online import AddIndexOnline
from deploy_ops.phases.operations.contract import Contract
from deploy_ops.phases.operations.enforce_check import EnforceCheck
from deploy_ops.phases.operations.enforce_unique import EnforceUnique
from deploy_ops.phases.operations.remove_index_online import RemoveIndexOnline

Form = Callable[[Any, Scene], Iterable[Operation]]


def safe_form(operation: Operation, scene: Scene) -> Iterable[Operation]:
    """What to write instead of an operation; raises NotInTwoPhases where there is nothing."""
    if isinstance(operation, django.CreateModel):
        return _create_model(operation, scene)
    if not scene.touches_rows(subject_of(operation)):
        return [operation]
    form = FORMS.get(type(operation))
    if form is None:
        raise refusal(
            f"{scene.app}.{subject_of(operation)}",
            f"{type(operation).__name__} has no form that works for both old and new code",
            "Take that change back, or write it with makemigrations for a maintenance window.",
        )
    return form(operation, scene)


def _plain(operation: Operation, _scene: Scene) -> Iterable[Operation]:
    return [operation]


def _later(operation: Operation, _scene: Scene) -> Iterable[Operation]:
    return [Contract(operation)]


def _create_model(operation: django.CreateModel, scene: Scene) -> Iterable[Operation]:
    table = scene.new(operation.name)._meta.db_table
    if not operation.options.get("proxy") and table in scene.tables_that_wait():
        raise refusal(
            f"{scene.app}.{operation.name}",
            f"the table {table} of a model that goes is still there until the contract phase",
            "Give the new model another db_table, or delete the old one in a release before.",
        )
    return [operation]


def _rename_model(operation: django.RenameModel, scene: Scene) -> Iterable[Operation]:
    old, new = scene.old(operation.old_name), scene.new(operation.new_name)
    relations: list[Any] = [*old._meta.local_many_to_many]
    relations += [each.field for each in old._meta.related_objects if each.field.many_to_many]
    is_kept = old._meta.db_table == new._meta.db_table
    for field in relations:
        through = field.remote_field.through._meta
        if through.auto_created and (is_kept or field.db_table or field.model is not old):
            raise refusal(
                f"{scene.app}.{operation.old_name}",
                f"a column of {through.db_table}, the table of {field.name}, has the model's name, "
                "and would be renamed with it while old code uses it",
                "Keep the name of the model, and change its verbose_name.",
            )
    return [operation] if is_kept else [Contract(operation)]


def _alter_table(operation: django.AlterModelTable, scene: Scene) -> Iterable[Operation]:
    old, new = scene.old(operation.name), scene.new(operation.name)
    was, now = old._meta.db_table, new._meta.db_table
    if was != now:
        raise refusal(
            f"{scene.app}.{operation.name}",
            f"the table {was} would become {now}, and old code uses the one, new code the other",
            f"Keep the table, in class Meta of {operation.name}:\n    db_table = {was!r}",
        )
    return [operation]


def _add_index(operation: django.AddIndex, _scene: Scene) -> Iterable[Operation]:
    return [AddIndexOnline(operation.model_name, operation.index)]


def _remove_index(operation: django.RemoveIndex, _scene: Scene) -> Iterable[Operation]:
    return [RemoveIndexOnline(operation.model_name, operation.name)]


def _add_constraint(operation: django.AddConstraint, scene: Scene) -> Iterable[Operation]:
    constraint, model = operation.constraint, operation.model_name
    if isinstance(constraint, models.CheckConstraint):
        return [EnforceCheck(model, constraint)]
    if not isinstance(constraint, models.UniqueConstraint):
        raise refusal(
            f"{scene.app}.{model}.{constraint.name}",
            f"{type(constraint).__name__} builds its index while writes wait",
            "Write that change with makemigrations, for a maintenance window.",
        )
    if constraint.name in scene.unique_names_at_start(model):
        raise refusal(
            f"{scene.app}.{model}.{constraint.name}",
            "the constraint changes, and the one of that name is still there until the contract "
            "phase",
            "Give the new one another name.",
        )
    return [EnforceUnique(model, constraint)]


def _unique_together(operation: django.AlterUniqueTogether, scene: Scene) -> Iterator[Operation]:
    old, new = (
        set(state.models[scene.app, operation.name_lower].options.get("unique_together") or ())
        for state in (scene.before, scene.after)
    )
    for fields in sorted(new - old):
        yield EnforceUnique(operation.name, list(fields))
    if old - new:
        yield Contract(django.AlterUniqueTogether(operation.name, new))


FORMS: dict[type[Operation], Form] = {
    django.AddConstraint: _add_constraint,
    django.AddField: add_field,
    django.AddIndex: _add_index,
    django.AlterConstraint: _plain,  # only what the database does not know
    django.AlterField: alter_field,
    django.AlterIndexTogether: _plain,  # since Django 5.1 it only removes
    django.AlterModelManagers: _plain,
    django.AlterModelOptions: _plain,
    django.AlterModelTable: _alter_table,
    django.AlterModelTableComment: _plain,
    django.AlterUniqueTogether: _unique_together,
    django.DeleteModel: _later,
    django.RemoveConstraint: _later,
    django.RemoveField: _later,
    django.RemoveIndex: _remove_index,
    django.RenameField: rename_field,
    django.RenameIndex: _plain,
    django.RenameModel: _rename_model,
}
