"""Restores: prepared beside the live database, compared, and swapped in when the caller says so.

    with prepare_restore(backup, alias=alias, lock=lock) as prepared:
        if is_acceptable(prepared.loss):
            prepared.swap(unless_written_since=prepared.counted)

What was not swapped when the block ends is discarded. `restore_into` swaps nothing, and
`prepare_in_place` is for roles that may not create a second database. `prepare_tables` puts the
rows of single tables back, and `compare_query` changes nothing. Before any of them, under
the deploy lock, `resume_interrupted` finishes or undoes what a killed restore left.
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.restore.in_place import PreparedReplacement, prepare_in_place
    from deploy_ops.restore.interrupted import has_interrupted, resume_interrupted
    from deploy_ops.restore.point import prepare_point
    from deploy_ops.restore.prepare import prepare_restore, restore_into
    from deploy_ops.restore.rows import Changed, RowsDifference, compare_query
    from deploy_ops.restore.swap import PreparedRestore
    from deploy_ops.restore.tables import PreparedTables, RestoredTables, prepare_tables
    from deploy_ops.restore.values import Contents, Loss, Restored, Since
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "in_place": ["PreparedReplacement", "prepare_in_place"],
            "interrupted": ["has_interrupted", "resume_interrupted"],
            "point": ["prepare_point"],
            "prepare": ["prepare_restore", "restore_into"],
            "rows": ["Changed", "RowsDifference", "compare_query"],
            "swap": ["PreparedRestore"],
            "tables": ["PreparedTables", "RestoredTables", "prepare_tables"],
            "values": ["Contents", "Loss", "Restored", "Since"],
        },
    )

__all__ = [
    "Changed",
    "Contents",
    "Loss",
    "PreparedReplacement",
    "PreparedRestore",
    "PreparedTables",
    "Restored",
    "RestoredTables",
    "RowsDifference",
    "Since",
    "compare_query",
    "has_interrupted",
    "prepare_in_place",
    "prepare_point",
    "prepare_restore",
    "prepare_tables",
    "restore_into",
    "resume_interrupted",
]
