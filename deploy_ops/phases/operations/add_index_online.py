"""AddIndexOnline: an index, built while others write."""

from collections.abc import Sequence

from django.db.migrations.operations import AddIndex

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.online import OnlineOperation
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Step


class AddIndexOnline(OnlineOperation, AddIndex):
    """AddIndex by CREATE INDEX CONCURRENTLY; an index that a killed build has left is replaced."""

    def steps(self, change: Change) -> Sequence[Step]:
        """Build it."""
        model = change.model_after(self.model_name)
        return online_steps(change, model, lambda editor: editor.add_index(model, self.index))

    def steps_back(self, change: Change) -> Sequence[Step]:
        """Drop it."""
        model = change.model_before(self.model_name)
        return online_steps(change, model, lambda editor: editor.remove_index(model, self.index))
