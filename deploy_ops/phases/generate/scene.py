"""One operation that the autodetector has found, and what there is around it."""

from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model, UniqueConstraint
from django.db.utils import load_backend

ModelKey = tuple[str, str]


@dataclass(frozen=True)
class Scene:
    """The models before and after one operation, and which tables this run makes."""

    app: str
    start: ProjectState  # before the first operation of the run
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

    def columns_that_wait(self, model_name: str) -> set[str]:
        """Columns of fields that were there at the start and are gone: they wait to be dropped."""
        if (self.app, model_name.lower()) not in self.start.models:
            return set()
        start: Any = self.start.apps.get_model(self.app, model_name)
        names = {field.name for field in self.old(model_name)._meta.local_fields}
        return {field.column for field in start._meta.local_fields if field.name not in names}

    def tables_that_wait(self) -> set[str]:
        """Tables of models that were there at the start and are gone."""
        return {
            self.start.apps.get_model(*key)._meta.db_table
            for key in set(self.start.models) - set(self.before.models)
        }

    def unique_names_at_start(self, model_name: str) -> set[str]:
        """The names of the unique constraints that the model had at the start."""
        state: ModelState | None = self.start.models.get((self.app, model_name.lower()))
        constraints = state.options.get("constraints", ()) if state else ()
        return {each.name for each in constraints if isinstance(each, UniqueConstraint)}


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
