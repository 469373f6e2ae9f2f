"""Two-phase changes of the schema: the vocabulary of migrations, stable for ever.

Frozen migrations import these names, and from nowhere else.
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.phases.operations.backfill import Backfill
    from deploy_ops.phases.operations.contract import Contract
else:
    __getattr__ = import_when_asked(
        __name__, {"operations.backfill": ["Backfill"], "operations.contract": ["Contract"]}
    )

__all__ = ["Backfill", "Contract"]
