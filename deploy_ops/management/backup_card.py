"""One backup as a card for people; what a program needs is in the JSON."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.utils import timezone

from deploy_ops.backup.entry import Backup, Level
from deploy_ops.management.base import Json, spoken_age

LARGEST = 5
PROVEN: Mapping[str, str] = {
    Level.MANIFEST: "by its list of files",
    Level.HASH: "by its hashes",
    Level.READ: "by reading",
    Level.RESTORE: "by restoring",
}


def card(backup: Backup, now: datetime) -> str:
    """The text: when, of what, how large, proven how and when, where copies are, rows."""
    facts = [*_facts(backup, now), *_largest_tables(backup.manifest.counts)]
    return "\n".join(f"{name + ':':<15}{value}" for name, value in facts)


def _facts(backup: Backup, now: datetime) -> Iterator[tuple[str, str]]:
    manifest = backup.manifest
    yield "Backup", backup.id
    if backup.label:
        yield "Label", backup.label
    yield "Taken", f"{_local(backup.created_at)}, {spoken_age(now - backup.created_at)} ago"
    yield "Database", backup.place
    yield "Size", f"{backup.size_bytes / 1e6:.1f} MB in {_number(len(manifest.files), 'file')}"
    if manifest.media:
        yield "Uploads", _number(manifest.media.files, "file")
    yield "Encrypted", f"with key {manifest.encryption.key}" if manifest.encryption else "no"
    for verification in backup.verifications:
        yield "Verified", _verification(verification)
    yield "Where", _where(backup)
    yield "Pinned", "yes, prune leaves it" if backup.is_pinned else "no"


def _verification(entry: Json) -> str:
    at = _local(datetime.fromisoformat(entry["at"]))
    how = PROVEN[entry["level"]]
    return f"{how}, {at}: FAILED, {entry['failed']}" if "failed" in entry else f"{how}, {at}"


def _where(backup: Backup) -> str:
    if not backup.is_here:
        return 'only in STORAGES["backups"]'
    copied = ', and in STORAGES["backups"]' if backup.is_copied else ", no copy elsewhere"
    return f"{backup.directory}{copied}"


def _largest_tables(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for table, rows in largest[:LARGEST]:
        yield "Rows", f"{rows} in {table}"
    if (left := len(largest) - LARGEST) > 0:
        yield "Rows", f"and {_number(left, 'smaller table')}"


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _local(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M %Z}"
