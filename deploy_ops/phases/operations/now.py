"""What the models of the applied migrations say of a column, when an older change of it is run."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations.loader import MigrationLoader

from deploy_ops.phases.operations.base import Change


def fields_now(change: Change, table: str, columns: Iterable[str]) -> Iterator[Any]:
    """The fields that have these columns of a table."""
    loader, wanted = MigrationLoader(change.connection), set(columns)
    applied = [key for key in loader.graph.nodes if key in loader.applied_migrations]
    for model in loader.project_state(applied).apps.get_models():
        if model._meta.db_table == table:
            yield from (each for each in model._meta.local_concrete_fields if each.column in wanted)
