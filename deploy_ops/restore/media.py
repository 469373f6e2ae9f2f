"""Uploads restored beside MEDIA_ROOT, then swapped with it by renaming.

The backup's copies are private; restored ones get the permissions that Django gives to uploads,
and MEDIA_ROOT's owner, or the web server could not read them any more.
"""

import errno
import itertools
import logging
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from deploy_ops.backup.manifest import Manifest
from deploy_ops.databases.base import Json
from deploy_ops.errors import RestoreRefused
from deploy_ops.files import sync_directory, sync_tree
from deploy_ops.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MediaPaths:
    """MEDIA_ROOT, what is restored beside it, and what the old one will be called."""

    live: Path
    beside: Path
    previous: Path

    def as_json(self) -> dict[str, str]:
        """For the file that survives a crash."""
        return {"live": str(self.live), "beside": str(self.beside), "previous": str(self.previous)}

    @classmethod
    def from_json(cls, fields: Json) -> "MediaPaths":
        """The other way round."""
        return cls(Path(fields["live"]), Path(fields["beside"]), Path(fields["previous"]))


def media_paths(stamp: str) -> MediaPaths:
    """Name the directories of one restore."""
    live = Path(settings.MEDIA_ROOT).resolve()
    return MediaPaths(
        live,
        live.with_name(f"{live.name}_restoring_{stamp}"),
        live.with_name(f"{live.name}_before_restore_{stamp}"),
    )


def media_beside() -> list[Path]:
    """The uploads that restores replaced or left half-way, oldest first."""
    if not getattr(settings, "MEDIA_ROOT", ""):
        return []
    live = Path(settings.MEDIA_ROOT).resolve()
    form = re.compile(
        rf"{re.escape(live.name)}_(before_restore|restoring)_(?P<time>[0-9]{{8}}T[0-9]{{6}}Z)"
        r"(_[0-9]+)?"
    )
    found = [
        (match["time"], path) for path in _siblings(live) if (match := form.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found)]


def require_media_root() -> None:
    """Raise RestoreRefused where MEDIA_ROOT is gone: what lies beside may be all there is."""
    if (beside := media_beside()) and not (live := Path(settings.MEDIA_ROOT).resolve()).exists():
        raise RestoreRefused(
            f"There is no {live}, and what lies beside it may be the only copy of the uploads. "
            "Nothing was deleted. Give one of them the name, such as the latest:\n"
            f"    {shlex.join(('mv', str(beside[-1]), str(live)))}"
        )


def _siblings(path: Path) -> list[Path]:
    return list(path.parent.iterdir()) if path.parent.is_dir() else []


def check_media(manifest: Manifest) -> list[str]:
    """Look for what would make restoring the uploads fail; a sentence each, with its remedy."""
    if manifest.media is None:
        return []
    if not getattr(settings, "MEDIA_ROOT", ""):
        return ["The backup has uploads, and the setting MEDIA_ROOT is empty. Name a directory."]
    live = Path(settings.MEDIA_ROOT).resolve()
    if os.path.ismount(live):
        return [
            f"MEDIA_ROOT {live} is a mount point and cannot be renamed. Mount the directory above "
            "it, or restore with MEDIA_ROOT set to a directory inside it."
        ]
    parent = live.parent
    if not os.access(parent, os.W_OK | os.X_OK):
        return [
            f"{parent} cannot be written, so MEDIA_ROOT cannot be replaced. Give this user the "
            "right to write there."
        ]
    free, needed = shutil.disk_usage(parent).free, manifest.media.bytes
    if free < needed:
        return [f"{parent} has {free / 1e6:.0f} MB free, the uploads need {needed / 1e6:.0f} MB."]
    return []


def copy_beside(source: Path, paths: MediaPaths, progress: Progress) -> None:
    """Copy the uploads of a backup beside MEDIA_ROOT, durably."""
    files = [path for path in source.rglob("*") if path.is_file()]
    total, done = sum(path.stat().st_size for path in files), 0
    paths.beside.mkdir(mode=0o700)
    with progress.track("Media", total) as report:
        for path in files:
            target = paths.beside / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
            done += path.stat().st_size
            report(done)
    _open_as_uploads(paths)
    sync_tree(paths.beside)


def swap(paths: MediaPaths) -> None:
    """Swap the directories by two renames; may be repeated after a kill at any point.

    Between the two an upload makes MEDIA_ROOT anew: that is kept beside, too.
    """
    while paths.beside.exists():
        if paths.live.exists():
            _keep(paths)
        try:
            os.rename(paths.beside, paths.live)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    sync_directory(paths.live.parent)


def _keep(paths: MediaPaths) -> None:
    if not paths.previous.exists():
        os.rename(paths.live, paths.previous)
        return
    names = (Path(f"{paths.previous}_{number}") for number in itertools.count(1))
    kept = next(path for path in names if not path.exists())
    os.rename(paths.live, kept)
    logger.warning(
        "Uploads were made while MEDIA_ROOT was swapped; they are kept as %s. Copy them from there "
        "into %s.",
        *(kept, paths.live),
    )


def discard(paths: MediaPaths) -> None:
    """Remove what was restored beside."""
    shutil.rmtree(paths.beside, ignore_errors=True)


def _open_as_uploads(paths: MediaPaths) -> None:
    umask = os.umask(0o077)
    os.umask(umask)
    file_mode = settings.FILE_UPLOAD_PERMISSIONS or 0o666 & ~umask
    directory_mode = settings.FILE_UPLOAD_DIRECTORY_PERMISSIONS or 0o777 & ~umask
    root = paths.live.stat() if paths.live.exists() else None
    for directory, _, names in os.walk(paths.beside):
        os.chmod(directory, directory_mode)
        for name in names:
            os.chmod(os.path.join(directory, name), file_mode)
        if root and os.geteuid() == 0:
            for path in [directory, *(os.path.join(directory, name) for name in names)]:
                os.chown(path, root.st_uid, root.st_gid)
    if root:
        os.chmod(paths.beside, root.st_mode & 0o7777)
