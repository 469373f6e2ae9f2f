"""What is done to backups that the catalog has: pinned, deleted, and uploads swept."""

import os
from datetime import UTC, datetime, timedelta

from deploy_ops.backup.entry import PINNED, Backup
from deploy_ops.backup.manifest import NAME
from deploy_ops.backup.storage import remote_storage
from deploy_ops.backup.workspace import remove_tree
from deploy_ops.files import open_private, sync_directory
from deploy_ops.ids import is_id

UPLOAD_LIMIT = timedelta(days=1)


def pin(backup: Backup) -> None:
    """Keep a backup from being pruned, here and in the storage."""
    if backup.is_here:
        os.close(open_private(backup.directory / PINNED, os.O_WRONLY | os.O_CREAT))
        sync_directory(backup.directory)
    if backup.is_copied and PINNED not in backup.remote_names and (remote := remote_storage()):
        remote.put_bytes(f"{backup.id}/{PINNED}", b"\n")


def unpin(backup: Backup) -> None:
    """Let a backup be pruned when its time comes."""
    (backup.directory / PINNED).unlink(missing_ok=True)
    if PINNED in backup.remote_names and (remote := remote_storage()):
        remote.remove(f"{backup.id}/{PINNED}")


def delete_backup(backup: Backup) -> None:
    """Delete a backup: in the storage first its manifest, here first its name."""
    if backup.remote_names and (remote := remote_storage()):
        remote.delete(backup.id)
    if backup.directory.exists():
        remove_tree(backup.directory)


def sweep_storage() -> list[str]:
    """Delete what interrupted uploads left in the storage more than a day ago; return the ids."""
    remote, before = remote_storage(), datetime.now(UTC) - UPLOAD_LIMIT
    if remote is None:
        return []
    # Ids begin with the time; what is younger may be an upload that another host is doing.
    ids = [i for i in remote.ids() if is_id(i) and i[:16] < f"{before:%Y%m%dT%H%M%SZ}"]
    left = [backup_id for backup_id, names in remote.names_of(ids).items() if NAME not in names]
    for backup_id in left:
        remote.delete(backup_id)
    return left
