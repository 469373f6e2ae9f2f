"""Fill a column of rows that are there, in batches, while old and new code work on them."""

from typing import Any

from django.db import router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Q

from deploy_ops.phases.backfill.compile import (
    Subject,
    compile_filling,
    compile_update,
    function_in,
)
from deploy_ops.phases.backfill.entry import forget, is_there, register
from deploy_ops.phases.backfill.filling import Filling
from deploy_ops.phases.backfill.run import check_writes_all, run
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.base import Change, VocabularyOperation
from deploy_ops.phases.where import find_place

PLAIN_BATCH_ROWS = 1000


class Backfill(VocabularyOperation):
    """Write a column of the rows that `where` holds for; by default of those where it is NULL.

    `values` is an expression (`F("km") * 2`, `RawSQL`, a constant), or a function that gets a list
    of rows, as instances of the model at this point of the migrations, and returns a value for
    each. `detached` leaves the work to `backfill run`, on any host.
    """

    category = OperationCategory.PYTHON

    def __init__(
        self,
        model_name: str,
        field_name: str,
        values: Any,
        where: Q | None = None,
        detached: bool = False,
    ) -> None:
        self.model_name = model_name
        self.field_name = field_name
        self.values = values
        self.where = where
        self.detached = detached

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """As it is written into a migration."""
        given = {"where": self.where, "detached": self.detached or None}
        kept = {name: value for name, value in given.items() if value is not None}
        return type(self).__name__, [self.model_name, self.field_name, self.values], kept

    @property
    def reduces_to_sql(self) -> bool:  # type: ignore[override]
        """What Python computes does not."""
        return function_in(self.values) is None

    @property
    def migration_name_fragment(self) -> str:
        """For the name of a generated migration."""
        return f"fill_{self.model_name.lower()}_{self.field_name.lower()}"

    def describe(self) -> str:
        """For people."""
        return f"Fill {self.field_name} of the rows of {self.model_name}"

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Rows are no part of the state."""

    def forwards(self, change: Change) -> None:
        """Fill now, or leave it to workers."""
        subject = self._subject(change.app, change.connection, change.after)
        if not _concerns(subject):
            return
        if change.editor.collect_sql:
            update = compile_update(subject.rows, self.field_name, self.values)
            change.execute(update.text, update.params)
        elif runs_alone(subject.connection, change.app):
            _fill_at_once(subject, self.values)
        elif filling := compile_filling(subject, self.values):
            name = str(find_place(self, change.app))
            if self.detached:
                check_writes_all(subject.connection, filling)
                register(subject.connection, name, filling)
            else:
                run(subject.connection, name, filling)

    def backwards(self, change: Change) -> None:
        """Leave the values; forget that they were filled, so that it can be done again."""
        if not change.editor.collect_sql and is_there(change.connection):
            forget(change.connection, str(find_place(self, change.app)))

    def filling(
        self, app_label: str, connection: BaseDatabaseWrapper, state: ProjectState
    ) -> Filling | None:
        """What is to be written, in SQL, for workers; None if it can be nothing."""
        return compile_filling(self._subject(app_label, connection, state), self.values)

    def _subject(
        self, app_label: str, connection: BaseDatabaseWrapper, state: ProjectState
    ) -> Subject:
        model = state.apps.get_model(app_label, self.model_name)
        where = Q(**{f"{self.field_name}__isnull": True}) if self.where is None else self.where
        return Subject(connection, model, self.field_name, where)


def _fill_at_once(subject: Subject, values: Any) -> None:
    """Nobody else is at work: one transaction."""
    rows, function = subject.rows, function_in(values)
    with transaction.atomic(subject.connection.alias):
        if function is None:
            rows.update(**{subject.field_name: values})
            return
        batch = list(rows.order_by("pk")[:PLAIN_BATCH_ROWS])
        while batch:
            for row, value in zip(batch, function(batch), strict=True):
                subject.all_rows.filter(pk=row.pk).update(**{subject.field_name: value})
            batch = list(rows.filter(pk__gt=batch[-1].pk).order_by("pk")[:PLAIN_BATCH_ROWS])


def _concerns(subject: Subject) -> bool:
    """Whether the table is in this database; a proxy and an unmanaged model have one too."""
    alias, model = subject.connection.alias, subject.model
    return not model._meta.swapped and router.allow_migrate_model(alias, model)
