"""Restores: prepared beside the live database, compared, and swapped in when the caller says so.

    with prepare_restore(backup, alias=alias, lock=lock) as prepared:
        if is_acceptable(prepared.loss):
            prepared.swap(unless_written_since=prepared.counted)

What was not swapped when the block ends is discarded. `restore_into` swaps nothing, and
`prepare_in_place` is for roles that may not create a second database. Before any of them, under
the deploy lock, `resume_interrupted` finishes or undoes what a killed restore left.
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.restore.in_place import PreparedReplacement, prepare_in_place
    from deploy_ops.restore.interrupted import has_interrupted, resume_interrupted
    from deploy_ops.restore.point import prepare_point
    from deploy_ops.restore.prepare import prepare_restore, restore_into
    from deploy_ops.restore.swap import PreparedRestore
    from deploy_ops.restore.values import Contents, Loss, Restored, Since
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "in_place": ["PreparedReplacement", "prepare_in_place"],
            "interrupted": ["has_interrupted", "resume_interrupted"],
            "point": ["prepare_point"],
            "prepare": ["prepare_restore", "restore_into"],
            "swap": ["PreparedRestore"],
            "values": ["Contents", "Loss", "Restored", "Since"],
        },
    )

__all__ = [
    "Contents",
    "Loss",
    "PreparedReplacement",
    "PreparedRestore",
    "Restored",
    "Since",
    "has_interrupted",
    "prepare_in_place",
    "prepare_point",
    "prepare_restore",
    "restore_into",
    "resume_interrupted",
]
