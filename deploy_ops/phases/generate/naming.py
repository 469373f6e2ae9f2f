"""Names of files that tell what a migration does."""

import re

from django.db.migrations import Migration
from django.db.migrations.operations import AddField
from django.db.migrations.operations.base import Operation

from deploy_ops.phases.operations.enforce_not_null import EnforceNotNull


class NamedMigration(Migration):
    """A migration whose online operation says what it does."""

    def suggest_name(self) -> str:
        """As Django, but for one operation of ours, which stands alone."""
        if self.atomic or self.initial:
            return str(super().suggest_name())
        [operation] = self.operations
        return re.sub(r"\W+", "_", _fragment(operation))


def _fragment(operation: Operation) -> str:
    if isinstance(operation, AddField):
        return f"add_{operation.model_name_lower}_{operation.name_lower}"
    if isinstance(operation, EnforceNotNull):
        return f"{operation.model_name_lower}_{operation.name_lower}_not_null"
    return str(operation.migration_name_fragment)
