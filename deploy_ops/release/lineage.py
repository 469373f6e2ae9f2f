"""Which backups are of the past of a database, once restores have undone some of its time.

What the database says of its own past (when a contract has run) holds for those alone: a backup
that was taken after the one that was restored, and before that restore, is of a time that it does
not know.
"""

from collections.abc import Sequence

from deploy_ops.audit import Restore

NOW = "~"  # behind every id


def is_of_this_past(backup: str, restores: Sequence[Restore]) -> bool:
    """Whether a backup (its id, which begins with its time) is, by the restores, oldest first."""
    until = NOW
    for restore in reversed(restores):
        at = f"{restore.at:%Y%m%dT%H%M%SZ}"
        if at > until:
            continue  # undone by a later one
        if backup[: len(at)] > at:  # of one in the same second it is not known: not taken for later
            break
        until = restore.backup
    return backup <= until
