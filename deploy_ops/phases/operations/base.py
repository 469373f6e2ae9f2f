"""What operations of two phases share: when their halves run, and where the second one waits."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Model

from deploy_ops.advice import manage
from deploy_ops.phases.backfill.entry import unfinished
from deploy_ops.phases.halves import run_together, runs_alone
from deploy_ops.phases.rows import Entry, add_row, check_table, has_table, is_waiting, remove_row
from deploy_ops.phases.where import Place, find_place, place_of, source
from deploy_ops.progress import listener

if TYPE_CHECKING:
    from deploy_ops.phases.operations.doubled import Doubled


@dataclass(frozen=True)
class Change:
    """One operation at work: its app, Django's schema editor, the states before and after it."""

    app: str
    editor: Any  # Django's, whose private methods are used too
    before: ProjectState
    after: ProjectState

    @cached_property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection that migrates."""
        connection: BaseDatabaseWrapper = self.editor.connection
        return connection

    @property
    def contract_command(self) -> str:
        """The command of the contract phase, for messages."""
        return manage("safe_migrate", "--phase", "contract", alias=self.connection.alias)

    def model_before(self, name: str) -> type[Model]:
        """The model as it is before the operation."""
        return self._model(self.before, name)

    def model_after(self, name: str) -> type[Model]:
        """The model as it is after the operation."""
        return self._model(self.after, name)

    def reversed(self) -> Change:
        """The same with the states swapped, as reversing it sees them."""
        return Change(self.app, self.editor, self.after, self.before)

    def quote(self, name: str) -> str:
        """A name as SQL has it."""
        return str(self.editor.quote_name(name))

    def execute(self, sql: str, params: Any = None) -> None:
        """Run a statement, or collect it for sqlmigrate; None as params leaves % alone."""
        self.editor.execute(sql, params)

    def _model(self, state: ProjectState, name: str) -> type[Model]:
        model: type[Model] = state.apps.get_model(self.app, name)
        return model


class VocabularyOperation(Operation):  # pylint: disable=abstract-method  # a base class
    """One of the names that migrations import from `deploy_ops.phases`, and from nowhere else.

    `is_online` tells the lint that no request waits for it, `is_idempotent` that doing it again
    after it failed half-way is harmless.
    """

    is_online = True
    is_idempotent = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__module__ = "deploy_ops.phases"  # whence migration files import it, for ever

    def forwards(self, change: Change) -> None:
        """Apply it."""
        self.as_django(change)

    def backwards(self, change: Change) -> None:
        """Reverse it; `change` is the forward one."""
        self.as_django_backwards(change)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """As Django calls it."""
        self.forwards(Change(app_label, schema_editor, from_state, to_state))

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """As Django calls it, with the later state first."""
        self.backwards(Change(app_label, schema_editor, to_state, from_state))

    def as_django(self, change: Change) -> None:
        """Apply the operation of Django's that it is made of."""
        states = change.before, change.after
        super().database_forwards(change.app, change.editor, *states)

    def as_django_backwards(self, change: Change) -> None:
        """Reverse the operation of Django's that it is made of."""
        states = change.after, change.before
        super().database_backwards(change.app, change.editor, *states)


class WaitingOperation(VocabularyOperation):
    """An operation that may wait for the contract phase, as a row: a half of it, or all."""

    # Whether one transaction can hold the contract; None where that is as the migration says.
    contract_is_atomic: bool | None = True
    # Rows that free a table of a view or a trigger, which block the others, go before them.
    frees_table = False
    # A view, on which the columns depend that those would drop, goes before even them.
    is_first = False
    # Whether the contract is about the table of its subject, whatever that is called by then.
    follows_table = True
    # Whether it may take away what a backfill that is not done reads.
    spoils_backfills = False

    @property
    def subject(self) -> str | None:
        """Name of the model that the operation changes; None if it is of no model."""
        return getattr(self, "model_name", None)

    @abstractmethod
    def contract(self, change: Change) -> None:
        """Do what was put off."""

    @abstractmethod
    def catch_up(self, change: Change) -> None:
        """Do all of it, where all of it was put off."""

    def loses(self, change: Change) -> bool | None:
        """Whether the contract takes values away that reversing the operation does not bring; None
        where nothing can tell."""
        del change
        return False


class PhasedOperation(WaitingOperation):
    """An operation whose second half waits for the contract phase, where old code may be at work.

    `expand` does what both codes need now, `contract` the rest once the old release is gone; both
    look first, so that running them again after a kill is harmless. `undo` takes back an `expand`
    whose contract is still to come.
    """

    @property
    def begins_at_once(self) -> bool:
        """Whether a part of it does not wait, where another one does."""
        return True

    @abstractmethod
    def plain(self, change: Change) -> None:
        """Do all of it at once, as Django's own operation does."""

    @abstractmethod
    def plain_backwards(self, change: Change) -> None:
        """Take all of it back, as Django's own operation does; `change` is the forward one."""

    @abstractmethod
    def expand(self, change: Change) -> None:
        """Do what both codes need in between."""

    @abstractmethod
    def undo(self, change: Change) -> None:
        """Take back what `expand` did; its contract has not run."""

    # pylint: disable-next=useless-return  # it answers, as those of the operations
    def doubled(self, change: Change) -> Doubled | None:
        """The column that new code has beside that of old code, and `undo` drops."""
        del change
        return None

    def catch_up(self, change: Change) -> None:
        """Do both halves."""
        self.expand(change)
        self.contract(change)

    @abstractmethod
    def entry(self, change: Change) -> Entry | None:
        """The row for what is put off; None if nothing is."""

    @abstractmethod
    def concerns(self, change: Change) -> bool:
        """Whether routers and the kind of model let the operation touch this database."""

    def forwards(self, change: Change) -> None:
        """Do all of it, or the first half."""
        if not self.concerns(change):
            return
        if run_together(change.connection, change.app) and not self._waits_for_backfill(change):
            self.plain(change)
            return
        entry = self.entry(change)
        if change.editor.collect_sql:
            self._collect(change, entry)
            return
        if entry is None:
            self.expand(change)
            return
        check_table(change.connection)
        # Found out beforehand: what `expand` locks stays locked to the end of the transaction.
        place, text = find_place(self, change.app), source(self)
        self.expand(change)
        add_row(change.connection, place, entry, text)

    def backwards(self, change: Change) -> None:
        """Take the whole back, or the first half if the second one has not run."""
        if not self.concerns(change):
            return
        place = self._place_of_row(change)
        waits = is_waiting(change.connection, place) if place else None
        if waits:
            self.undo(change)
        else:
            if waits is False and self.loses(change):
                self._tell_of_loss(change)
            self.plain_backwards(change)
        if place is not None:
            remove_row(change.connection, place)

    def _waits_for_backfill(self, change: Change) -> bool:
        """Whether it would take away what a detached backfill is still to read."""
        if not self.spoils_backfills or runs_alone(change.connection, change.app):
            return False
        return not change.editor.collect_sql and bool(detached(change.connection))

    def _tell_of_loss(self, change: Change) -> None:
        listener().say(
            f"{self.describe()}: its contract has run, so what reversing it brings back is empty. "
            "Only a backup from before the contract has the values:\n"
            + manage("contract", "list", "--all", alias=change.connection.alias)
        )

    def _place_of_row(self, change: Change) -> Place | None:
        """Where the row of this operation would be; None where there can be none."""
        connection = change.connection
        if change.editor.collect_sql or connection.vendor != "postgresql":
            return None
        if not has_table(connection):
            return None
        return find_place(self, change.app)

    def _collect(self, change: Change, entry: Entry | None) -> None:
        self.expand(change)
        if entry is not None:
            change.execute("-- waits for the contract phase:")
            self.contract(change)


def detached(connection: BaseDatabaseWrapper) -> list[str]:
    """Backfills of their own that are not done; those inside another operation end with it."""
    return [name for name in unfinished(connection) if place_of(name)]
