"""What operations share that do all of their work at once, while others use the table."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.migrations.operations.base import Operation
from django.db.models import Model

from deploy_ops.errors import NeedsNoTransaction, NotOnline
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.base import Change, PhasedOperation, WaitingOperation
from deploy_ops.phases.operations.steps import AddConstraint, BuildIndex, Step
from deploy_ops.phases.taken_indexes import check_indexes


class OnlineOperation(WaitingOperation):
    """An operation of Django's for which nobody waits: stands before it among the base classes.

    Where nobody can wait (SQLite, an app that is new to the database) it is Django's own.
    """

    contract_is_atomic = False
    model_name: str

    @abstractmethod
    def steps(self, change: Change) -> Sequence[Step]:
        """What to do."""

    @abstractmethod
    def steps_back(self, change: Change) -> Sequence[Step]:
        """What to do when it is reversed; `change` is the way back."""

    def contract(self, change: Change) -> None:
        """Do it; it has no halves."""
        run_steps(self, change, self.steps(change))

    catch_up = contract

    def forwards(self, change: Change) -> None:
        """Do it, so that nobody waits."""
        if self._is_here(change.model_after(self.model_name), change):
            if runs_alone(change.connection, change.app):
                self.as_django(change)
            else:
                run_steps(self, change, self.steps(change))

    def backwards(self, change: Change) -> None:
        """Take it back, so that nobody waits."""
        if self._is_here(change.model_before(self.model_name), change):
            if runs_alone(change.connection, change.app):
                self.as_django_backwards(change)
            else:
                run_steps(self, change, self.steps_back(change.reversed()))

    def describe(self) -> str:
        """As Django's own, and how."""
        return f"{super().describe()} (online)"

    def _is_here(self, model: type[Model], change: Change) -> bool:
        return self.allow_migrate_model(change.connection.alias, model)


class PhasedOnline(PhasedOperation):  # pylint: disable=abstract-method  # a base class, too
    """An operation of Django's in two halves: stands before it among the base classes.

    Where both run together and nobody can wait it is Django's own; else both are done online.
    """

    contract_is_atomic = False
    model_name: str

    def plain(self, change: Change) -> None:
        """Do all of it at once."""
        if runs_alone(change.connection, change.app):
            self.as_django(change)
        else:
            self.expand(change)
            self.contract(change)

    def plain_backwards(self, change: Change) -> None:
        """Take all of it back."""
        if runs_alone(change.connection, change.app):
            self.as_django_backwards(change)
        else:
            self.undo(change)

    def concerns(self, change: Change) -> bool:
        """As Django's own."""
        model = change.model_after(self.model_name)
        return self.allow_migrate_model(change.connection.alias, model)

    def describe(self) -> str:
        """As Django's own, and how."""
        return f"{super().describe()} (online)"


def run_steps(operation: Operation, change: Change, steps: Sequence[Step]) -> None:
    """Do the steps of an operation; raises NeedsNoTransaction, NotOnline, PlanRefused before
    the first one."""
    if not change.editor.collect_sql:
        made = [step.name for step in steps if isinstance(step, BuildIndex | AddConstraint)]
        check_indexes(change.connection, operation.describe(), made)
        check_steps(change, steps)
        if any(each.needs_no_transaction for each in steps):
            check_no_transaction(operation, change)
    for step in steps:
        step.run(change)


def check_steps(change: Change, steps: Iterable[Step]) -> None:
    """Raise NotOnline for what one of them cannot do to this table."""
    for step in steps:
        step.check(change)


def check_no_transaction(operation: Operation, change: Change) -> None:
    """Raise NeedsNoTransaction for what commits on its way in an atomic migration."""
    if change.connection.in_atomic_block and not change.editor.collect_sql:
        raise NeedsNoTransaction(
            f"{operation.describe()}: this operation commits between its steps, so that no lock is "
            f"held for long, but its migration in {change.app} is atomic. Nothing was changed. "
            "Write into the class Migration, which then should hold no other operation:\n"
            "    atomic = False"
        )


def check_only(change: Change, old: Any, new: Any, ignored: set[str]) -> None:
    """Raise NotOnline if two fields differ in more of the schema than in these attributes."""
    # pylint: disable-next=protected-access  # what Django itself asks
    if change.editor._field_should_be_altered(old, new, ignored):
        allowed = ", ".join(sorted(ignored))
        raise NotOnline(
            f"{new.model._meta.label}.{new.name} changes in more than {allowed}, and this "
            "operation changes only that. Nothing was changed. Put the other changes into an "
            "operation of their own, before this one."
        )
