"""Backups and restores: taken, verified, listed, pruned, and put back beside the live database."""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.backup.catalog import complete_backups, find_backup, list_entries
    from deploy_ops.backup.create import take_backup
    from deploy_ops.backup.entry import Backup, Entry, State
    from deploy_ops.backup.manifest import Level
    from deploy_ops.backup.upkeep import delete_backup, pin, unpin
    from deploy_ops.backup.verification import Verification, verify_backup
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "catalog": ["complete_backups", "find_backup", "list_entries"],
            "create": ["take_backup"],
            "entry": ["Backup", "Entry", "State"],
            "manifest": ["Level"],
            "upkeep": ["delete_backup", "pin", "unpin"],
            "verification": ["Verification", "verify_backup"],
        },
    )

__all__ = [
    "Backup",
    "Entry",
    "Level",
    "State",
    "Verification",
    "complete_backups",
    "delete_backup",
    "find_backup",
    "list_entries",
    "pin",
    "take_backup",
    "unpin",
    "verify_backup",
]
