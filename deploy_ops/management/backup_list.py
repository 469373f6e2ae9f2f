"""The catalog as a table for people, and as JSON."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from deploy_ops.backup.entry import Backup, Entry, State
from deploy_ops.management.backup_card import PROVEN
from deploy_ops.management.base import Json, spoken_age
from deploy_ops.management.tables import local_time
from deploy_ops.ids import shortened

HEADINGS = ("ID", "TAKEN", "AGE", "SIZE", "STATE", "DATABASE", "NOTES")
UNPROVEN = (State.NOT_OURS, State.KEY_MISSING)


def rows(entries: Sequence[Entry], now: datetime) -> Iterator[Sequence[str]]:
    """The cells of each entry."""
    ids = shortened([entry.id for entry in entries])
    for entry in entries:
        backup = entry.backup
        if backup is None or entry.state in UNPROVEN:  # what it claims to be is nothing to go by
            yield ids[entry.id], "", "", "", entry.state, "", entry.reason
            continue
        yield (
            ids[entry.id],
            local_time(backup.created_at),
            spoken_age(now - backup.created_at),
            f"{backup.size_bytes / 1e6:.1f} MB",
            entry.state if entry.reason else f"verified {PROVEN[backup.level]}",
            backup.place,
            _notes(entry, backup, now),
        )


def _notes(entry: Entry, backup: Backup, now: datetime) -> str:
    notes = {
        "pinned": backup.is_pinned,
        "encrypted": backup.is_encrypted,
        "copied": backup.is_copied,
        "only in storage": not backup.is_here,
        "DATED IN THE FUTURE": entry.is_future(now),
        entry.reason: bool(entry.reason),
        backup.label: bool(backup.label),
    }
    return ", ".join(note for note, applies in notes.items() if applies)


def facts(entry: Entry, now: datetime) -> Json:
    """What a program reads of one; of what nothing proves, no more than that."""
    found: Json = {"id": entry.id, "state": entry.state, "reason": entry.reason}
    backup = entry.backup
    if backup is None or entry.state in UNPROVEN:
        return found
    return found | {
        "created_at": backup.created_at,
        "age_seconds": round((now - backup.created_at).total_seconds()),
        "engine": backup.engine,
        "database": backup.place,
        "label": backup.label,
        "run": backup.head.run,
        "size_bytes": backup.size_bytes,
        "level": backup.level,
        "pinned": backup.is_pinned,
        "encrypted": backup.is_encrypted,
        "here": backup.is_here,
        "copied": backup.is_copied,
        "future": entry.is_future(now),
    }
