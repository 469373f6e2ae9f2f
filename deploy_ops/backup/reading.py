"""One line of the catalog, from a directory here or from a folder in the storage."""

import shlex
from dataclasses import replace
from pathlib import Path

from deploy_ops.backup.authenticity import Trust
from deploy_ops.backup.entry import Backup, Entry, State
from deploy_ops.backup.judge import Judge
from deploy_ops.backup.manifest import NAME, parse_id
from deploy_ops.backup.storage import remote_storage
from deploy_ops.backup.workspace import owner_of
from deploy_ops.errors import BackupCorrupt, BackupError, BackupUnreadable, UsageError
from deploy_ops.files import read_private


def read_here(directory: Path, remote_names: frozenset[str], judge: Judge) -> Entry:
    """What a directory below DEPLOY_OPS_BACKUP_DIR is worth."""
    if directory.is_symlink():
        return Entry(directory.name, State.INCOMPLETE, "It is a symbolic link: none is followed.")
    try:
        content = read_private(directory / NAME)
    except OSError as error:
        return Entry(directory.name, State.INCOMPLETE, _why_incomplete(directory, error))
    entry = _entry(directory, content, remote_names, judge)
    if NAME in remote_names and entry.state in (State.CORRUPT, State.NOT_OURS):
        # What lies here hides the copy: nobody must be able to take that away so easily.
        hint = f" A copy is in the storage; to use it, move {shlex.quote(str(directory))} away."
        return replace(entry, reason=entry.reason + hint)
    return entry


def read_in_storage(directory: Path, remote_names: frozenset[str], judge: Judge) -> Entry:
    """What a folder in the storage is worth, which has a manifest."""
    remote = remote_storage()
    assert remote is not None
    try:
        content = remote.read_manifest(directory.name)
    except BackupError as error:
        return Entry(directory.name, State.INCOMPLETE, str(error))
    return _entry(directory, content, remote_names, judge)


def _entry(directory: Path, content: bytes, remote_names: frozenset[str], judge: Judge) -> Entry:
    name = directory.name
    try:
        judged = judge.judge(content)
        if judged.head.id != parse_id(name):
            raise BackupCorrupt(f"The manifest belongs to backup {judged.head.id}.")
    except BackupUnreadable as error:
        return Entry(name, State.OTHER_VERSION, str(error))
    except (BackupCorrupt, UsageError) as error:
        return Entry(name, State.CORRUPT, str(error))
    head, verdict = judged.head, judged.verdict
    backup = Backup(head.id, directory, head, verdict, remote_names, known=judged.manifest)
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
