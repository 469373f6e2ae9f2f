"""The head of a manifest: the little that lists and choices are made of.

A catalog holds thousands of backups, and a manifest names every file of one. So the manifest is
loaded and proven whole, and all but its head is let go again; who needs the rest reads it again
(`Backup.manifest`), and gets it only if it is still the one that the head is of.
"""

from dataclasses import dataclass
from datetime import datetime

from deploy_ops.backup.manifest import BackupId, Encryption, Manifest, SavedDatabase, Verified


@dataclass(frozen=True, slots=True)
class Head:  # pylint: disable=too-many-instance-attributes  # a part of the manifest
    """Fields of the manifest, the size of all its files, and the checksum that it is known by."""

    # pylint: disable=duplicate-code  # the manifest's, in its order
    id: BackupId
    sequence: int
    label: str
    run: str | None
    started_at: datetime
    finished_at: datetime
    database: SavedDatabase
    encryption: Encryption | None
    verified: Verified
    size_bytes: int
    checksum: str


def head_of(manifest: Manifest) -> Head:
    """Take the head of a manifest."""
    return Head(
        manifest.id,
        manifest.sequence,
        manifest.label,
        manifest.run,
        manifest.started_at,
        manifest.finished_at,
        manifest.database,
        manifest.encryption,
        manifest.verified,
        manifest.size_bytes,
        manifest.checksum,
    )
