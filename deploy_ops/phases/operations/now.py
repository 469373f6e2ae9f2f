"""What the models of the applied migrations say of a table, when an older change of it is run."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from deploy_ops.phases.operations.base import Change


def fields_now(change: Change, table: str, columns: Iterable[str]) -> Iterator[Any]:
    """The fields that have these columns of a table."""
    wanted = set(columns)
    for model in _models_now(change, table):
        yield from (each for each in model._meta.local_concrete_fields if each.column in wanted)


def unique_together_now(change: Change, table: str) -> set[tuple[str, ...]]:
    """The columns of a table that are unique together."""
    return {each for model in _models_now(change, table) for each in columns_together(model)}


def columns_together(model: type[Model]) -> set[tuple[str, ...]]:
    """The columns of a model that are unique together."""
    fields = model._meta.get_field
    return {
        tuple(str(getattr(fields(name), "column", name)) for name in names)
        for names in model._meta.unique_together
    }


def _models_now(change: Change, table: str) -> Iterator[type[Model]]:
    loader = MigrationLoader(change.connection)
    applied = [key for key in loader.graph.nodes if key in loader.applied_migrations]
    for model in loader.project_state(applied).apps.get_models():
        if model._meta.db_table == table:
            yield model
