"""The backups that exist: a directory each below DEPLOY_OPS_BACKUP_DIR, known by its manifest.

    <id>/database/      what the method wrote       <id>/manifest.json   written last
    <id>/media/         uploads, with --media       <id>/verified.jsonl  later verifications
    <id>/pinned         empty: never pruned

A directory without a valid manifest is shown and never used, and so is one that the keys of this
host do not prove to be ours. Where STORAGES["backups"] is set, backups that are only there are
listed too, and fetched when they are opened (opening.py).
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.advice import manage
from deploy_ops.backup.authenticity import host_keys
from deploy_ops.backup.entry import Backup, Entry, State
from deploy_ops.backup.judge import Judge, JudgeOfMany
from deploy_ops.backup.manifest import NAME, BackupId, parse_id
from deploy_ops.backup.reading import read_here, read_in_storage
from deploy_ops.backup.storage import remote_storage, side_by_side
from deploy_ops.backup.trust import accepted, require_usable
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import (
    BackupCorrupt,
    BackupError,
    BackupNotFound,
    BackupUnreadable,
    UsageError,
)
from deploy_ops.ids import is_beginning, only_one
from deploy_ops.places import private_place

logger = logging.getLogger(__name__)


def list_entries(*, must_reach_storage: bool = False) -> list[Entry]:
    """List what is here and in STORAGES["backups"], oldest first.

    A storage that cannot be reached is logged, since what is here can be used without it; with
    `must_reach_storage` it raises BackupError.
    """
    backup_dir = conf.backup_dir
    judge = JudgeOfMany(host_keys(), backup_dir)
    remote_names = _remote_names(must_reach_storage)
    names = _names_here(backup_dir)
    entries = [
        read_here(backup_dir / name, remote_names.get(name, frozenset()), judge) for name in names
    ]
    entries += side_by_side(
        lambda name: read_in_storage(backup_dir / name, remote_names[name], judge),
        remote_names.keys() - names,
    )
    judge.keep()
    return sorted(entries, key=_order)


def _names_here(backup_dir: Path) -> set[str]:
    """Names of the directories here; looking makes none."""
    if not os.path.lexists(backup_dir):
        return set()
    with os.scandir(private_place(backup_dir)) as found:
        return {each.name for each in found if each.name[0] != "." and each.is_dir()}


def complete_backups(*, must_reach_storage: bool = False) -> list[Backup]:
    """List the backups that can be used, oldest first."""
    return complete(list_entries(must_reach_storage=must_reach_storage))


def complete(entries: Iterable[Entry]) -> list[Backup]:
    """Those of them that can be used."""
    return [entry.backup for entry in entries if entry.backup and entry.state is State.COMPLETE]


def find_backup(
    alias: str, text: str, *, trust_unauthenticated: bool = False, from_elsewhere: bool = False
) -> Backup:
    """Return the backup of this id, or the `latest` one of this alias's database.

    With `trust_unauthenticated`, only by id: also one that no key of this host proves, unless a
    key disproves it. With `from_elsewhere`, `latest` may be of another database where there is
    none of this one, as on a new server. Raises UsageError, BackupNotFound, BackupCorrupt,
    BackupUnreadable, BackupUntrusted.
    """
    if text != "latest":
        return usable(find_entry(text), alias, trust_unauthenticated=trust_unauthenticated)
    if trust_unauthenticated:
        raise UsageError(
            "--trust-unauthenticated wants the id of one backup, since `latest` could be anybody's."
            " Nothing was changed. See them:\n    python manage.py backups list"
        )
    return _latest(alias, from_elsewhere)


def find_entry(text: str) -> Entry:
    """Return what is known under an id or the beginning of one, usable or not.

    Raises UsageError, BackupNotFound.
    """
    backup_id, judge = _full_id(text), Judge(host_keys())
    directory = conf.backup_dir / backup_id
    is_here = backup_id in _names_here(conf.backup_dir)
    names = _names_in_storage(backup_id, is_needed=not is_here)
    if is_here:
        return read_here(directory, names, judge)
    if NAME in names:
        return read_in_storage(directory, names, judge)
    raise _not_found(backup_id)


def _full_id(text: str) -> BackupId:
    if not is_beginning(text):
        return parse_id(text)
    # Without the storage one that is only there could be meant.
    remote = remote_storage()
    if found := only_one(text, _names_here(conf.backup_dir).union(remote.ids() if remote else ())):
        return BackupId(found)
    raise _not_found(text)


def _not_found(backup_id: str) -> BackupNotFound:
    return BackupNotFound(
        f"There is no backup {backup_id}. Nothing was changed. See those there are:\n"
        "    python manage.py backups list"
    )


def usable(
    entry: Entry, alias: str = DEFAULT_DB_ALIAS, *, trust_unauthenticated: bool = False
) -> Backup:
    """Return the backup of an entry.

    Raises BackupCorrupt, BackupUnreadable, BackupUntrusted, ConfigurationError.
    """
    backup = entry.backup
    if backup is not None:
        if trust_unauthenticated:
            backup = accepted(backup)
        require_usable(backup, alias, entry.reason)
        if not backup.failure:
            return backup
    if entry.state is State.OTHER_VERSION:
        raise BackupUnreadable(
            f"Backup {entry.id} cannot be used by this version of deploy_ops: {entry.reason} "
            "Nothing was changed. Use the version that made it."
        )
    raise BackupCorrupt(
        f"Backup {entry.id} is {entry.state} and cannot be used: {entry.reason} "
        "Nothing was changed. See the others:\n    python manage.py backups list"
    )


def same_database(backups: list[Backup], alias: str) -> list[Backup]:
    """Those backups that were taken of the alias's database."""
    key = database_for(alias).key()
    return [backup for backup in backups if backup.source == key]


def _latest(alias: str, from_elsewhere: bool) -> Backup:
    entries = list_entries()
    backups = same_database(complete(entries), alias)
    if not backups and from_elsewhere:
        backups = _of_the_only_database(complete(entries), alias)
    _warn_of_newer(entries, backups)
    if not backups:
        raise BackupNotFound(
            f"There is no usable backup of database '{alias}' in {conf.backup_dir}. Nothing was "
            f"changed. Take one:\n{manage('backup', alias=alias)}"
        )
    return backups[-1]


def _of_the_only_database(backups: list[Backup], alias: str) -> list[Backup]:
    """Those taken under this alias, if all are of one database; raises UsageError if not."""
    found = [backup for backup in backups if backup.head.database.alias == alias]
    newest = {backup.source: backup for backup in found}
    if len(newest) > 1:
        listed = "".join(f"\n    {backup.id}  {backup.place}" for backup in newest.values())
        raise UsageError(
            "No backup is of a database of this server, and those there are come from several. "
            f"Nothing was changed. Give the id of one; the newest of each:{listed}"
        )
    return found


def _warn_of_newer(entries: list[Entry], backups: list[Backup]) -> None:
    """Say what `latest` passes over, or a lost key would silently bring back old rows."""
    newest = _second_of(backups[-1].id) if backups else ""
    for entry in entries:
        is_passed_over = entry.state in (State.NOT_OURS, State.KEY_MISSING, State.OTHER_VERSION)
        if is_passed_over and _second_of(entry.id) >= newest:
            logger.warning("Backup %s is passed over: %s", entry.id, entry.reason)


def _second_of(backup_id: str) -> str:
    return backup_id[:16]


def _remote_names(must_reach_storage: bool) -> dict[str, frozenset[str]]:
    """Names at the top of each folder in the storage that has a manifest, by id."""
    remote = remote_storage()
    if remote is None:
        return {}
    try:
        names = remote.names_of(remote.ids())
    except BackupError as error:
        if must_reach_storage:
            raise
        logger.warning("%s Backups that are only there are not listed.", error)
        return {}
    return {backup_id: found for backup_id, found in names.items() if NAME in found}


def _names_in_storage(backup_id: BackupId, is_needed: bool) -> frozenset[str]:
    remote = remote_storage()
    try:
        return remote.names(backup_id) if remote else frozenset()
    except BackupError as error:
        if is_needed:
            raise
        logger.warning("%s Its copy there is not looked at.", error)
        return frozenset()


def _order(entry: Entry) -> tuple[int, str]:
    """By number where that is proven; what only claims one comes first."""
    backup = entry.backup
    return (backup.sequence if backup and backup.verdict.is_usable else 0, entry.id)
