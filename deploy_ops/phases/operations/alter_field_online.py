"""What alters one thing of a field while others use the table."""

from collections.abc import Sequence, Set
from typing import Any, ClassVar

from django.db.migrations.operations import AlterField

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.online import OnlineOperation, check_only
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Step


class AlterFieldOnline(OnlineOperation, AlterField):
    """AlterField of the options in `may_change` alone; the base of operations.

    They take the whole new field, as AlterField does: the models in the code say what it is, and
    the state has to be the same.
    """

    may_change: ClassVar[Set[str]] = frozenset()

    def steps(self, change: Change) -> Sequence[Step]:
        """What comes, built while others write."""
        model = change.model_before(self.model_name)
        old: Any = model._meta.get_field(self.name)
        new: Any = change.model_after(self.model_name)._meta.get_field(self.name)
        check_only(change, old, new, set(self.may_change))
        return online_steps(change, model, lambda editor: editor.alter_field(model, old, new))

    def steps_back(self, change: Change) -> Sequence[Step]:
        """Drop what is not in the field before."""
        return self.steps(change)
