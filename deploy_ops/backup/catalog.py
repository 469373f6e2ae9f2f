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
import shlex
from dataclasses import replace
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.advice import manage
from deploy_ops.backup.authenticity import HostKeys, Trust, host_keys
from deploy_ops.backup.entry import Backup, Entry, State
from deploy_ops.backup.manifest import NAME, BackupId, load_manifest, parse_id
from deploy_ops.backup.storage import remote_storage
from deploy_ops.backup.trust import accepted, require_usable
from deploy_ops.backup.workspace import owner_of
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import (
    BackupCorrupt,
    BackupError,
    BackupNotFound,
    BackupUnreadable,
    UsageError,
)
from deploy_ops.files import read_private
from deploy_ops.ids import is_beginning, only_one
from deploy_ops.places import private_place

logger = logging.getLogger(__name__)


def list_entries(*, must_reach_storage: bool = False) -> list[Entry]:
    """List what is here and in STORAGES["backups"], oldest first.

    A storage that cannot be reached is logged, since what is here can be used without it; with
    `must_reach_storage` it raises BackupError.
    """
    backup_dir, keys = conf.backup_dir, host_keys()
    remote_names = _remote_names(must_reach_storage)
    names = _names_here(backup_dir)
    entries = [
        _read_entry(backup_dir / name, remote_names.get(name, frozenset()), keys) for name in names
    ]
    entries += [
        _read_remote(backup_dir / name, remote_names[name], keys)
        for name in remote_names.keys() - names
    ]
    return sorted(entries, key=_order)


def _names_here(backup_dir: Path) -> set[str]:
    """Names of the directories here; looking makes none."""
    if not os.path.lexists(backup_dir):
        return set()
    paths = private_place(backup_dir).iterdir()
    return {path.name for path in paths if path.is_dir() and path.name[0] != "."}


def complete_backups(*, must_reach_storage: bool = False) -> list[Backup]:
    """List the backups that can be used, oldest first."""
    entries = list_entries(must_reach_storage=must_reach_storage)
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
    backup_id, keys = _full_id(text), host_keys()
    directory = conf.backup_dir / backup_id
    is_here = backup_id in _names_here(conf.backup_dir)
    names = _names_in_storage(backup_id, is_needed=not is_here)
    if is_here:
        return _read_entry(directory, names, keys)
    if NAME in names:
        return _read_remote(directory, names, keys)
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
    complete = [each.backup for each in entries if each.backup and each.state is State.COMPLETE]
    backups = same_database(complete, alias)
    if not backups and from_elsewhere:
        backups = _of_the_only_database(complete, alias)
    _warn_of_newer(entries, backups)
    if not backups:
        raise BackupNotFound(
            f"There is no usable backup of database '{alias}' in {conf.backup_dir}. Nothing was "
            f"changed. Take one:\n{manage('backup', alias=alias)}"
        )
    return backups[-1]


def _of_the_only_database(backups: list[Backup], alias: str) -> list[Backup]:
    """Those taken under this alias, if all are of one database; raises UsageError if not."""
    found = [backup for backup in backups if backup.manifest.database.alias == alias]
    newest = {backup.source: backup for backup in found}
    if len(newest) > 1:
        listed = "".join(
            f"\n    {backup.id}  {backup.manifest.database.place}" for backup in newest.values()
        )
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


def _read_entry(directory: Path, remote_names: frozenset[str], keys: HostKeys) -> Entry:
    if directory.is_symlink():
        return Entry(directory.name, State.INCOMPLETE, "It is a symbolic link: none is followed.")
    try:
        content = read_private(directory / NAME)
    except OSError as error:
        return Entry(directory.name, State.INCOMPLETE, _why_incomplete(directory, error))
    entry = _entry(directory, content, remote_names, keys)
    if NAME in remote_names and entry.state in (State.CORRUPT, State.NOT_OURS):
        # What lies here hides the copy: nobody must be able to take that away so easily.
        hint = f" A copy is in the storage; to use it, move {shlex.quote(str(directory))} away."
        return replace(entry, reason=entry.reason + hint)
    return entry


def _read_remote(directory: Path, remote_names: frozenset[str], keys: HostKeys) -> Entry:
    remote = remote_storage()
    assert remote is not None
    try:
        content = remote.read_manifest(directory.name)
    except BackupError as error:
        return Entry(directory.name, State.INCOMPLETE, str(error))
    return _entry(directory, content, remote_names, keys)


def _entry(directory: Path, content: bytes, remote_names: frozenset[str], keys: HostKeys) -> Entry:
    name = directory.name
    try:
        manifest = load_manifest(content)
        if manifest.id != parse_id(name):
            raise BackupCorrupt(f"The manifest belongs to backup {manifest.id}.")
    except BackupUnreadable as error:
        return Entry(name, State.OTHER_VERSION, str(error))
    except (BackupCorrupt, UsageError) as error:
        return Entry(name, State.CORRUPT, str(error))
    verdict = keys.judge(manifest)
    backup = Backup(BackupId(name), directory, manifest, verdict, remote_names)
    if not verdict.is_usable:
        is_missing = verdict.trust is Trust.KEY_MISSING
        state = State.KEY_MISSING if is_missing else State.NOT_OURS
        return Entry(name, state, verdict.reason, backup)
    if backup.failure:
        return Entry(name, State.CORRUPT, f"Verification failed: {backup.failure}", backup)
    return Entry(name, State.COMPLETE, "", backup)


def _why_incomplete(directory: Path, error: OSError) -> str:
    if owner := owner_of(directory):
        return f"It is being written by {owner}."
    return f"Its manifest cannot be read: {error.strerror}."


def _remote_names(must_reach_storage: bool) -> dict[str, frozenset[str]]:
    """Names at the top of each folder in the storage that has a manifest, by id."""
    remote = remote_storage()
    if remote is None:
        return {}
    try:
        names = {backup_id: remote.names(backup_id) for backup_id in remote.ids()}
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
