"""Django's task framework, where the project has one: `django.tasks` of 6.0, or django-tasks."""

from types import ModuleType
from typing import Any

from django.conf import settings

AT_ONCE = ("ImmediateBackend", "DummyBackend")  # these have no workers


def framework() -> ModuleType | None:
    """The module of the task framework; None if there is none."""
    try:
        import django.tasks as found  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            import django_tasks as found  # type: ignore[import-not-found,no-redef,unused-ignore]
        except ImportError:
            return None
    module: ModuleType = found
    return module


def has_workers() -> bool:
    """Whether tasks that are enqueued are run by other processes."""
    found = framework()
    if found is None or found.DEFAULT_TASK_BACKEND_ALIAS not in getattr(settings, "TASKS", ()):
        return False
    return type(_backend(found)).__name__ not in AT_ONCE


def can_put_off() -> bool:
    """Whether a task can be enqueued for a later moment."""
    found = framework()
    return found is not None and bool(_backend(found).supports_defer)


def _backend(found: ModuleType) -> Any:
    return found.task_backends[found.DEFAULT_TASK_BACKEND_ALIAS]
