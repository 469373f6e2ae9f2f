"""EnforceCheck: a check constraint, validated while others write."""

from collections.abc import Sequence

from django.db.migrations.operations import AddConstraint
from django.db.models import CheckConstraint

from deploy_ops.phases.operations.after_backfill import AfterBackfill, fields_of
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.online import OnlineOperation
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Step


class EnforceCheck(AfterBackfill, OnlineOperation, AddConstraint):
    """AddConstraint of a CheckConstraint: NOT VALID at first, then validated.

    Rows that break it make it fail, and leave nothing behind that rejects writes.
    """

    def __init__(self, model_name: str, constraint: CheckConstraint) -> None:
        if not isinstance(constraint, CheckConstraint):
            raise TypeError("EnforceCheck takes a CheckConstraint; see EnforceUnique")
        super().__init__(model_name, constraint)

    def enforced(self) -> set[str] | None:
        """The fields of the condition."""
        return fields_of(getattr(self.constraint, "condition"))

    def steps(self, change: Change) -> Sequence[Step]:
        """Add it, then validate it."""
        model = change.model_after(self.model_name)
        return online_steps(
            change, model, lambda editor: editor.add_constraint(model, self.constraint)
        )

    def steps_back(self, change: Change) -> Sequence[Step]:
        """Drop it."""
        model = change.model_before(self.model_name)
        return online_steps(
            change, model, lambda editor: editor.remove_constraint(model, self.constraint)
        )
