"""Free space on the disk: how much a backup needs, and saying so when it is not there."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_ops.advice import manage
from deploy_ops.backup.catalog import complete_backups
from deploy_ops.backup.manifest import total_bytes
from deploy_ops.databases.base import Identity
from deploy_ops.errors import BackupFailed, Interrupted, ProgramError

GROWTH = 1.2
# A first dump has nothing to go by: SQLite's is the database itself; pg_dump leaves out the
# indexes and compresses the rest (measured: 2057 MB became 158 MB).
FIRST_DUMP = {"sqlite": 1.1, "postgresql": 0.5}
ALMOST_FULL_BYTES = 32 * 1024 * 1024


def expected_bytes(source: Identity) -> int:
    """Guess the size of a database's next dump: from its last one, else from its own size."""
    previous = [backup for backup in complete_backups() if backup.belongs_to(source)]
    if previous:
        return int(GROWTH * total_bytes(previous[-1].manifest.files, "database/"))
    return int(FIRST_DUMP[source.engine] * source.size_bytes)


def check_free_space(backup_dir: Path, needed: int, alias: str) -> None:
    """Raise BackupFailed if the disk has less; older backups are never pruned to make room."""
    if (free := shutil.disk_usage(backup_dir).free) < needed:
        raise BackupFailed(_no_free_space(backup_dir, free, needed, alias))


@contextmanager
def translated_errors(backup_dir: Path, needed: int, alias: str) -> Iterator[None]:
    """Say what went wrong in our own words, whoever noticed it."""
    try:
        yield
    except (OSError, ProgramError) as error:
        raise BackupFailed(_why_failed(error, backup_dir, needed, alias)) from error
    except KeyboardInterrupt as error:
        raise Interrupted(
            "The backup was stopped by the operator and what was written of it removed. "
            "The database was not changed."
        ) from error


def _why_failed(error: Exception, backup_dir: Path, needed: int, alias: str) -> str:
    free = shutil.disk_usage(backup_dir).free
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if is_full:
        return _no_free_space(backup_dir, free, needed, alias)
    if free < ALMOST_FULL_BYTES:  # a program that met a full disk can only tell it in words
        return f"{_no_free_space(backup_dir, free, needed, alias)}\nWhat failed:\n{error}"
    return (
        f"The backup failed: {error}\n"
        "What was written of it was removed and the database was not changed. Once the cause is "
        f"fixed, take another one:\n{manage('backup', alias=alias)}"
    )


def _no_free_space(backup_dir: Path, free: int, needed: int, alias: str) -> str:
    return (
        f"{backup_dir} has {free / 1e6:.1f} MB free, and the backup needs about {needed / 1e6:.1f} "
        "MB. No backup was made and the database was not changed. Older backups were not removed "
        "to make room. See which DEPLOY_OPS_BACKUP_RETENTION no longer keeps, then delete these:\n"
        f"{manage('backups', 'prune', alias=alias)}\n"
        f"{manage('backups', 'prune', '--delete', alias=alias)}"
    )
