"""Opening a backup: its files plain and here, fetched from the storage and decrypted if need be."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy_ops.backup.encryption import keyring_for
from deploy_ops.backup.entry import Backup
from deploy_ops.backup.storage import remote_storage
from deploy_ops.backup.trust import require_usable
from deploy_ops.backup.workspace import OPENED, make_parents, open_workspace
from deploy_ops.errors import BackupError
from deploy_ops.files import open_private
from deploy_ops.places import backup_directory


@contextmanager
def opened(backup: Backup) -> Iterator[Path]:
    """Lend a directory with the plain `database/` and `media/` of a backup.

    It is the backup's own where its files are here and not encrypted; else a private one that is
    removed afterwards. Raises BackupCorrupt, BackupError, BackupUntrusted, and ConfigurationError
    without the key.
    """
    require_usable(backup)
    with ExitStack() as stack:
        directory = backup.directory
        if not backup.is_here:
            directory = stack.enter_context(_private_copy())
            _fetch(backup, directory)
        if backup.is_encrypted:
            plain = stack.enter_context(_private_copy())
            decrypt_backup(backup, directory, plain)
            directory = plain
        yield directory


def decrypt_backup(backup: Backup, source: Path, target: Path) -> None:
    """Decrypt all files of a backup from one directory into another."""
    assert backup.manifest.encryption is not None
    keys = keyring_for(backup.manifest.encryption.key)
    for path in backup.manifest.files:
        make_parents(target, path)
        with open(open_private(target / path), "wb") as file:
            for chunk in keys.decrypt(source / path, f"{backup.id}/{path}"):
                file.write(chunk)


def _fetch(backup: Backup, target: Path) -> None:
    remote = remote_storage()
    if remote is None:
        raise BackupError(
            f'The files of backup {backup.id} are not here and STORAGES["backups"] is not set. '
            "Nothing was changed."
        )
    remote.fetch(backup.id, backup.manifest.files, target)


@contextmanager
def _private_copy() -> Iterator[Path]:
    backup_dir = backup_directory()
    with open_workspace(backup_dir, f"{OPENED}{os.getpid()}-{os.urandom(4).hex()}") as workspace:
        yield workspace.path
