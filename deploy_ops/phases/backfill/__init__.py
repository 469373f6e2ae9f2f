"""Fill columns of a large table while it is in use: in batches, resumable, by several workers.

Operations of this package call `fill`; what workers and the command `backfill` need is in `run`
and `ledger`.
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.phases.backfill.filling import Computed, Filling, Sql
    from deploy_ops.phases.backfill.run import fill
else:
    __getattr__ = import_when_asked(
        __name__, {"filling": ["Computed", "Filling", "Sql"], "run": ["fill"]}
    )

__all__ = ["Computed", "Filling", "Sql", "fill"]
