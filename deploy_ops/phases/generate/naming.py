"""Names of files that tell what a migration does."""

import re
from collections.abc import Mapping

from django.db.migrations import Migration
from django.db.migrations.operations import AddField, AlterField
from django.db.migrations.operations.base import Operation

from deploy_ops.phases.operations.change_type_online import ChangeTypeOnline
from deploy_ops.phases.operations.enforce_check import EnforceCheck
from deploy_ops.phases.operations.enforce_foreign_key import EnforceForeignKey
from deploy_ops.phases.operations.enforce_not_null import EnforceNotNull
from deploy_ops.phases.operations.enforce_unique import EnforceUnique
from deploy_ops.phases.operations.index_field_online import IndexFieldOnline

# What Django calls "alter" for all of them.
ENFORCED: Mapping[type[Operation], str] = {
    ChangeTypeOnline: "type",
    EnforceCheck: "check",
    EnforceForeignKey: "foreign_key",
    EnforceNotNull: "not_null",
    EnforceUnique: "unique",
    IndexFieldOnline: "index",
}


class NamedMigration(Migration):
    """A migration whose online operation says what it does."""

    def suggest_name(self) -> str:
        """As Django, but for one operation of ours, which stands alone."""
        if self.atomic or self.initial:
            return str(super().suggest_name())
        [operation] = self.operations
        return re.sub(r"\W+", "_", _fragment(operation))


def _fragment(operation: Operation) -> str:
    fragment = str(operation.migration_name_fragment)
    if isinstance(operation, AddField):
        return f"add_{fragment}"
    enforced = next((end for kind, end in ENFORCED.items() if isinstance(operation, kind)), None)
    if not enforced:
        return fragment
    if isinstance(operation, AlterField) or isinstance(getattr(operation, "unique", None), str):
        return f"{fragment.removeprefix('alter_')}_{enforced}"
    return f"enforce_{fragment.removeprefix('alter_')}"
