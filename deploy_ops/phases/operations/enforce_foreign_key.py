"""EnforceForeignKey: the constraint of a foreign key, validated while others write."""

from collections.abc import Sequence
from typing import Any

from django.db.migrations.operations import AlterField

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.online import OnlineOperation, check_only
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Step

MAY_CHANGE = {"db_constraint", "db_index"}


class EnforceForeignKey(OnlineOperation, AlterField):
    """AlterField from `db_constraint=False` to a foreign key that the database enforces.

    It takes the whole new field, as AlterField does: the models in the code say whether it has an
    index, a related name and the rest, and the state has to be the same. An index that is new is
    built concurrently; the constraint is NOT VALID at first, then validated.
    """

    def steps(self, change: Change) -> Sequence[Step]:
        """The index, the constraint, its validation."""
        return self._alter(change)

    def steps_back(self, change: Change) -> Sequence[Step]:
        """Drop what is not in the field before."""
        return self._alter(change)

    def _alter(self, change: Change) -> Sequence[Step]:
        model = change.model_before(self.model_name)
        old: Any = model._meta.get_field(self.name)
        new: Any = change.model_after(self.model_name)._meta.get_field(self.name)
        check_only(change, old, new, MAY_CHANGE)
        return online_steps(change, model, lambda editor: editor.alter_field(model, old, new))
