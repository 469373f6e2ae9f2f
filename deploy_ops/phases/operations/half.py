"""What `Contract` knows of the operation that it holds: one class for each kind."""

from typing import Generic, TypeVar

from django.db.migrations.operations import RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.models import Model

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.rows import Entry

AnyOperation = TypeVar("AnyOperation", bound=Operation)


class Half(Generic[AnyOperation]):
    """Any operation: nothing of it runs now, all of it in the contract phase."""

    contract_is_atomic: bool | None = True
    is_idempotent = True
    begins_at_once = False
    frees_table = False
    is_first = False
    follows_table = True
    spoils_backfills = True

    def __init__(self, operation: AnyOperation) -> None:
        self.operation = operation

    def plain(self, change: Change) -> None:
        """Do it at once."""
        self.operation.database_forwards(change.app, change.editor, change.before, change.after)

    def plain_backwards(self, change: Change) -> None:
        """Take it back."""
        self.operation.database_backwards(change.app, change.editor, change.after, change.before)

    def expand(self, change: Change) -> None:
        """Do what both codes need in between."""

    def undo(self, change: Change) -> None:
        """Take back what `expand` did; nothing where it did nothing that waits."""

    def contract(self, change: Change) -> None:
        """Do the rest."""
        self.plain(change)

    def loses(self, change: Change) -> bool | None:
        """Whether the contract takes values away that reversing the operation does not bring; None
        where nothing can tell, as of code."""
        del change
        return None if self.spoils_backfills else False

    def entry(self, change: Change) -> Entry | None:
        """The row for what is put off; None if nothing is."""
        model = self.model(change)
        table = model._meta.db_table if model else None
        return Entry(table, self.operation.describe())

    def describe(self) -> str:
        """What the operation does, and when."""
        return f"{self.operation.describe()} once the old release is gone"

    def concerns(self, change: Change) -> bool:
        """Whether the operation touches this database; those without a model decide themselves."""
        model = self.model(change)
        alias = change.connection.alias
        return model is None or self.operation.allow_migrate_model(alias, model)

    def model(self, change: Change) -> type[Model] | None:
        """The model that the operation names, as it is before it."""
        name = getattr(self.operation, "model_name", None)
        return change.model_before(name) if name else None


class Code(Half[RunPython | RunSQL]):
    """Code or SQL of the application: all of it waits, and what it does half-way is not known."""

    is_idempotent = False

    contract_is_atomic = None

    def __init__(self, operation: RunPython | RunSQL) -> None:
        super().__init__(operation)
        if isinstance(operation, RunPython):
            self.contract_is_atomic = operation.atomic
