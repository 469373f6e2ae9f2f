"""The number of a backup: counted on, so that their order never depends on a clock."""

import re
from pathlib import Path

from deploy_ops.backup.catalog import complete_backups
from deploy_ops.backup.workspace import guarded
from deploy_ops.files import read_private, set_aside, write_atomically


def next_sequence(backup_dir: Path) -> int:
    """Count backups on, across the storage too, so that order never depends on a clock."""
    counter = backup_dir / ".sequence"
    known = max((backup.sequence for backup in complete_backups()), default=0)
    with guarded(backup_dir):
        number = max(known, _counted(counter)) + 1
        write_atomically(counter, str(number).encode())
    return number


def _counted(counter: Path) -> int:
    """Read the last number, 0 if there is none; one that cannot be read is set aside."""
    try:
        content = read_private(counter)
    except FileNotFoundError:
        return 0
    except OSError as error:
        set_aside(counter, str(error.strerror))
        return 0
    if not re.fullmatch(rb"[0-9]{1,15}", content):
        set_aside(
            counter, "it does not hold a number; backups are numbered on from those there are"
        )
        return 0
    return int(content)
