"""Two-phase changes of the schema: the vocabulary of migrations, stable for ever.

Frozen migrations import these names, and from nowhere else.
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.phases.functions import NewUUID
    from deploy_ops.phases.operations.add_field_online import AddFieldOnline
    from deploy_ops.phases.operations.add_index_online import AddIndexOnline
    from deploy_ops.phases.operations.backfill import Backfill
    from deploy_ops.phases.operations.change_type_online import ChangeTypeOnline
    from deploy_ops.phases.operations.contract import Contract
    from deploy_ops.phases.operations.enforce_check import EnforceCheck
    from deploy_ops.phases.operations.enforce_foreign_key import EnforceForeignKey
    from deploy_ops.phases.operations.enforce_not_null import EnforceNotNull
    from deploy_ops.phases.operations.enforce_unique import EnforceUnique
    from deploy_ops.phases.operations.index_field_online import IndexFieldOnline
    from deploy_ops.phases.operations.remove_index_online import RemoveIndexOnline
    from deploy_ops.phases.operations.rename_field_online import RenameFieldOnline
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "functions": ["NewUUID"],
            "operations.add_field_online": ["AddFieldOnline"],
            "operations.add_index_online": ["AddIndexOnline"],
            "operations.backfill": ["Backfill"],
            "operations.change_type_online": ["ChangeTypeOnline"],
            "operations.contract": ["Contract"],
            "operations.enforce_check": ["EnforceCheck"],
            "operations.enforce_foreign_key": ["EnforceForeignKey"],
            "operations.enforce_not_null": ["EnforceNotNull"],
            "operations.enforce_unique": ["EnforceUnique"],
            "operations.index_field_online": ["IndexFieldOnline"],
            "operations.remove_index_online": ["RemoveIndexOnline"],
            "operations.rename_field_online": ["RenameFieldOnline"],
        },
    )

__all__ = [
    "AddFieldOnline",
    "AddIndexOnline",
    "Backfill",
    "ChangeTypeOnline",
    "Contract",
    "EnforceCheck",
    "EnforceForeignKey",
    "EnforceNotNull",
    "EnforceUnique",
    "IndexFieldOnline",
    "NewUUID",
    "RemoveIndexOnline",
    "RenameFieldOnline",
]
