"""What is enforced on a column waits until the detached backfill that fills it is done."""

from abc import abstractmethod
from typing import Any

from django.db.models import Model

from deploy_ops.advice import manage
from deploy_ops.phases.backfill.entry import unfinished
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.backfill import Backfill
from deploy_ops.phases.operations.base import Change, WaitingOperation
from deploy_ops.phases.rows import Entry, put_off, remove_row, waiting_rows
from deploy_ops.phases.where import find_operation, find_place, place_of, source
from deploy_ops.progress import listener


class AfterBackfill(WaitingOperation):  # pylint: disable=abstract-method  # a base class, too
    """Stands first among the base classes of an operation that rows may break.

    A detached backfill runs once its code is deployed, which is after the migration. So all of the
    operation is put off, as a row that runs when the backfill is done.
    """

    model_name: str

    @abstractmethod
    def enforced(self) -> set[str] | None:
        """The fields that have to be right for it; None if that may be any."""

    def forwards(self, change: Change) -> None:
        """Do it, or put it off."""
        backfill = None if change.editor.collect_sql else self.unfinished_backfill(change)
        if backfill is None:
            super().forwards(change)
            return
        table = change.model_before(self.model_name)._meta.db_table
        entry, place = Entry(table, self.describe()), find_place(self, change.app)
        put_off(change.connection, place, entry, source(self), backfill)
        listener().say(
            f"{self.describe()} waits until the backfill {backfill} is done, then for the contract "
            f"phase:\n{manage('backfill', 'run', backfill, alias=change.connection.alias)}"
        )

    def backwards(self, change: Change) -> None:
        """Take it back, and the row."""
        super().backwards(change)
        if change.editor.collect_sql:
            return
        rows = waiting_rows(change.connection)
        if any(row.waits_for and row.place.app == change.app for row in rows):
            remove_row(change.connection, find_place(self, change.app))

    def unfinished_backfill(self, change: Change) -> str | None:
        """The backfill to wait for; None if there is none."""
        model = change.model_before(self.model_name)
        if runs_alone(change.connection, change.app):
            return None
        if not self.allow_migrate_model(change.connection.alias, model):
            return None
        names = unfinished(change.connection, model._meta.db_table)
        return next((name for name in names if fills(name, model, self.enforced())), None)


def fills(name: str, model: type[Model], enforced: set[str] | None) -> bool:
    """Whether a backfill may fill one of these fields; one that is not known may fill any."""
    place = place_of(name)
    if place is None:
        return False  # part of another operation, which has ended
    operation = find_operation(place)
    if enforced is None or not isinstance(operation, Backfill):
        return True
    fields: dict[str, Any] = {each.name: each for each in model._meta.get_fields()}
    known = operation.field_name in fields  # else it was renamed since
    return not known or operation.field_name in enforced


def fields_of(condition: Any) -> set[str] | None:
    """The fields that a condition names; None if it is of a kind that does not tell."""
    names = getattr(condition, "referenced_base_fields", None)
    return None if names is None else set(names)
