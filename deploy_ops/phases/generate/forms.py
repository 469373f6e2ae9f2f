"""The safe form of each operation that the autodetector writes."""

from collections.abc import Callable, Iterable
from typing import Any

from django.db.migrations import operations as django
from django.db.migrations.operations.base import Operation

from deploy_ops.phases.generate.scene import Scene, subject_of
from deploy_ops.phases.operations.contract import Contract

Form = Callable[[Any, Scene], Iterable[Operation]]


def safe_form(operation: Operation, scene: Scene) -> Iterable[Operation]:
    """What to write instead of an operation; raises NotInTwoPhases where there is nothing."""
    if not scene.touches_rows(subject_of(operation)):
        return [operation]
    return FORMS[type(operation)](operation, scene)


def _later(operation: Operation, _scene: Scene) -> Iterable[Operation]:
    return [Contract(operation)]


FORMS: dict[type[Operation], Form] = {
    django.DeleteModel: _later,
    django.RemoveField: _later,
}
