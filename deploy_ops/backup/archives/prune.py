"""Which base backups and segments of the log may go: none that a kept base needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_ops.backup.archives.base import Base
from deploy_ops.backup.archives.basebackup import PARTIAL, BaseBackups
from deploy_ops.backup.workspace import remove_tree, sweep
from deploy_ops.databases.postgresql.segments import segment_named


@dataclass(frozen=True, slots=True)
class Superfluous:
    """What is kept, and what is not needed for it; `size_bytes` is what removing that frees."""

    kept: Sequence[Base]
    bases: Sequence[Base]
    segments: Sequence[Path]
    size_bytes: int


def find_superfluous(archive: BaseBackups, keep: int) -> Superfluous:
    """Keep the newest bases, those that they build on, and the log from the oldest one's on.

    Segments are only told apart from needed ones where a base is: without one, all stay.
    """
    known = archive.bases()
    needed = {each.id for base in known[-keep:] for each in archive.chain_of(base)}
    kept = [base for base in known if base.id in needed]
    others = [base for base in known if base.id not in needed]
    segments = _segments_before(archive, kept[0]) if kept else []
    size = sum(base.size_bytes for base in others) + sum(path.stat().st_size for path in segments)
    return Superfluous(kept, others, segments, size)


def remove(archive: BaseBackups, found: Superfluous) -> None:
    """Remove them, newest bases first, so that no incremental one is left without what it needs."""
    for base in reversed(found.bases):
        remove_tree(archive.base_dir / base.id)
    for path in found.segments:
        path.unlink(missing_ok=True)
    if archive.base_dir.is_dir():
        sweep(archive.base_dir)


def _segments_before(archive: BaseBackups, oldest: Base) -> list[Path]:
    """Complete ones and pg_receivewal's; histories of timelines are small, and stay."""
    first = oldest.start_lsn // oldest.segment_bytes
    found = []
    for path in sorted(archive.wal_dir.iterdir()) if archive.wal_dir.is_dir() else []:
        segment = segment_named(path.name.removesuffix(PARTIAL), oldest.segment_bytes)
        if segment is not None and segment.number < first:
            found.append(path)
    return found
