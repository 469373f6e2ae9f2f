"""RemoveIndexOnline: an index goes while others use the table."""

from collections.abc import Sequence

from django.db.migrations.operations import RemoveIndex

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.online import OnlineOperation
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Step


class RemoveIndexOnline(OnlineOperation, RemoveIndex):
    """RemoveIndex by DROP INDEX CONCURRENTLY; reversed, the index is built concurrently."""

    def steps(self, change: Change) -> Sequence[Step]:
        """Drop it."""
        model = change.model_before(self.model_name)
        index = change.before.models[change.app, self.model_name_lower].get_index_by_name(self.name)
        return online_steps(change, model, lambda editor: editor.remove_index(model, index))

    def steps_back(self, change: Change) -> Sequence[Step]:
        """Build it."""
        model = change.model_after(self.model_name)
        index = change.after.models[change.app, self.model_name_lower].get_index_by_name(self.name)
        return online_steps(change, model, lambda editor: editor.add_index(model, index))
