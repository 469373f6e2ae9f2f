"""Uploaded files, copied into the backup: links are not followed, changing files are retried."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from deploy_ops.advice import manage
from deploy_ops.backup.manifest import SavedMedia
from deploy_ops.backup.workspace import make_parents
from deploy_ops.errors import BackupFailed, ConfigurationError
from deploy_ops.files import open_private
from deploy_ops.progress import Progress

TRIES = 3


def media_root() -> Path:
    """Return MEDIA_ROOT; raises ConfigurationError if the project has none."""
    root = str(getattr(settings, "MEDIA_ROOT", ""))
    if not root or not Path(root).is_dir():
        raise ConfigurationError(
            f"MEDIA_ROOT ({root or 'not set'}) is not a directory, so there are no uploads to "
            "back up. Nothing was changed. Leave out --media, or set MEDIA_ROOT."
        )
    return Path(root).resolve()


def media_bytes() -> int:
    """Add up the sizes of the files that `copy_media` would copy."""
    root = media_root()
    return sum((root / path).lstat().st_size for path in _regular_files(root))


def copy_media(target: Path, progress: Progress, *, alias: str) -> SavedMedia:
    """Copy MEDIA_ROOT below the target; return how many files, bytes, and entries left out.

    Links, sockets and the like are left out and counted. A file deleted meanwhile is as if it had
    been deleted before.
    """
    root, total = media_root(), media_bytes()
    files = done = 0
    with progress.track("Media", total) as report:
        for path in _regular_files(root):
            make_parents(target, path)
            size = _copy_unchanged(root / path, target / path, alias)
            files, done = files + (size is not None), done + (size or 0)
            report(done)
    return SavedMedia(files, done, left_out=sum(1 for _ in _irregular(root)))


def _copy_unchanged(source: Path, target: Path, alias: str) -> int | None:
    """Copy a file that holds still; return its size, None if it is gone."""
    for _ in range(TRIES):
        try:
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            return None
        with open(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            with open(open_private(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as copy:
                shutil.copyfileobj(file, copy, 1024 * 1024)
            after = os.fstat(descriptor)
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        if _version(before) == _version(after) and target.stat().st_size == before.st_size:
            return before.st_size
    raise BackupFailed(
        f"{source} changed each of the {TRIES} times it was copied. A copy of half a change is no "
        "backup, so none was made. The database was not changed. Stop what writes there, then:\n"
        + manage("backup", "--media", alias=alias)
    )


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _regular_files(root: Path) -> Iterator[Path]:
    return (path for path, is_regular in _walk(root) if is_regular)


def _irregular(root: Path) -> Iterator[Path]:
    return (path for path, is_regular in _walk(root) if not is_regular)


def _walk(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each entry that is not a directory, relative, and whether it is a regular file."""
    for directory, directories, names in os.walk(root, onerror=_unreadable):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        for name in sorted([*names, *links]):
            path = Path(directory, name)
            try:
                yield path.relative_to(root), stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                continue


def _unreadable(error: OSError) -> None:
    raise error
