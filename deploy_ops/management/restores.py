"""What `restore` does with its options, and what it tells people of it."""

from collections.abc import Mapping
from typing import Any

from deploy_ops.advice import manage
from deploy_ops.backup.entry import Backup
from deploy_ops.databases import database_for
from deploy_ops.lock import DeployLock
from deploy_ops.management.confirmation import Confirmation, describe_rows
from deploy_ops.progress import Progress
from deploy_ops.restore import Restored, prepare_in_place, prepare_restore, restore_into

LOST_IN_THE_END = "More was written after that was counted. What was lost in the end:"


def restore_as_asked(
    backup: Backup,
    lock: DeployLock,
    confirmation: Confirmation,
    progress: Progress,
    options: Mapping[str, Any],
) -> Restored:
    """Restore into a new database, in place, or by a swap; ask before what cannot be undone."""
    how: dict[str, Any] = {"alias": options["database"], "lock": lock, "jobs": options["jobs"]}
    how["progress"] = progress
    if options["into"] is not None:
        return restore_into(backup, options["into"], **how)
    if options["in_place"]:
        with prepare_in_place(backup, **how) as in_place:
            agreed = confirmation.ask(in_place.loss, in_place.counted)
            return in_place.replace_contents(unless_written_since=agreed)
    with prepare_restore(backup, **how) as prepared:
        assert prepared.loss is not None  # of a backup it is always counted
        agreed = confirmation.ask(prepared.loss, prepared.counted, prepared.view_differences)
        return prepared.swap(unless_written_since=agreed, cuts_off=options["end_requests"])


def describe_restored(restored: Restored, backup: Backup, alias: str) -> list[str]:
    """Where everything is now, what was lost, and how to go on or back."""
    lost = [] if restored.loss is None else [LOST_IN_THE_END, *describe_rows(restored.loss)]
    if restored.previous_database is not None:  # its views were described before the swap
        return [*lost, *_swapped(restored, backup, alias)]
    if restored.safety_backup is not None:
        report = _replaced(restored.safety_backup, backup, alias)
    else:
        report = [_restored_into(restored.database, backup)]
    return [*lost, *restored.view_differences, *report]


def _restored_into(name: str, backup: Backup) -> str:
    uploads = " The uploads in it are left out." if backup.manifest.media else ""
    return f"Backup {backup.id} is restored into {name}; nothing was swapped.{uploads}"


def _swapped(restored: Restored, backup: Backup, alias: str) -> list[str]:
    uploads = (
        f", the uploads before it as {restored.previous_media}" if restored.previous_media else ""
    )
    saved = backup.manifest.media
    left_out = saved.left_out if saved else 0
    links = (
        " Links and other entries of MEDIA_ROOT that are no files had been left out of the backup "
        f"({left_out}): copy those that are needed from there."
        if left_out
        else ""
    )
    return [
        f"{_place(alias)} now has the contents of backup {backup.id}. The database before it is "
        f"kept as {restored.previous_database}{uploads}.{links} When nothing is missing, this "
        "lists what can go:",
        manage("backups", "prune", "--previous-databases", "--min-age", "0s", alias=alias),
    ]


def _replaced(safety_backup: str, backup: Backup, alias: str) -> list[str]:
    uploads = ", without the uploads in it" if backup.manifest.media else ""
    return [
        f"{_place(alias)} now has the contents of backup {backup.id}{uploads}. To return to the "
        "previous contents:",
        manage("restore", safety_backup, "--in-place", alias=alias),
    ]


def _place(alias: str) -> str:
    return database_for(alias).identify().place
