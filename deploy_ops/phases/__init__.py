"""Two-phase changes of the schema: the vocabulary of migrations, stable for ever.

Frozen migrations import these names, and from nowhere else.
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.phases.operations.contract import Contract
    from deploy_ops.phases.operations.rename_field_online import RenameFieldOnline
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "operations.contract": ["Contract"],
            "operations.rename_field_online": ["RenameFieldOnline"],
        },
    )

__all__ = ["Contract", "RenameFieldOnline"]
