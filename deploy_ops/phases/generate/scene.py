"""One operation that the autodetector has found, and what there is around it."""

from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model
from django.db.utils import load_backend

ModelKey = tuple[str, str]


@dataclass(frozen=True)
class Scene:
    """The models before and after one operation, and which tables this run makes."""

    app: str
    before: ProjectState
    after: ProjectState
    new_models: frozenset[ModelKey]
    connection: BaseDatabaseWrapper

    def touches_rows(self, model_name: str) -> bool:
        """Whether the model has a table that was there before, and that migrations change."""
        key = self.app, model_name.lower()
        state: ModelState | None = self.before.models.get(key)
        if state is None or key in self.new_models:
            return False
        options = state.options
        return bool(options.get("managed", True)) and not options.get("proxy")

    def old(self, model_name: str) -> type[Model]:
        """The model before."""
        model: type[Model] = self.before.apps.get_model(self.app, model_name)
        return model

    def new(self, model_name: str) -> type[Model]:
        """The model after."""
        model: type[Model] = self.after.apps.get_model(self.app, model_name)
        return model

    def old_field(self, model_name: str, name: str) -> Any:
        """A field before."""
        return self.old(model_name)._meta.get_field(name)

    def new_field(self, model_name: str, name: str) -> Any:
        """A field after."""
        return self.new(model_name)._meta.get_field(name)


def subject_of(operation: Operation) -> str:
    """The name of the model that an operation of Django's is about; "" if it is about none."""
    for attribute in ("model_name", "old_name", "name"):
        if name := getattr(operation, attribute, None):
            return str(name)
    return ""


def judging_connection() -> BaseDatabaseWrapper:
    """PostgreSQL's, by which types and costs are judged also where one develops on SQLite."""
    default = connections[DEFAULT_DB_ALIAS]
    if default.vendor == "postgresql":
        return default
    try:
        backend = load_backend("django.db.backends.postgresql")
    except ImportError:  # no driver: there is no PostgreSQL that this project could run on
        return default
    wrapper: BaseDatabaseWrapper = backend.DatabaseWrapper(default.settings_dict, DEFAULT_DB_ALIAS)
    return wrapper
