"""Taking a backup: dump, verify, encrypt, name, copy; the manifest comes last and makes it one."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

import django

import deploy_ops
from deploy_ops.advice import manage
from deploy_ops.backup.authenticity import HostKeys, host_keys
from deploy_ops.backup.disk_space import check_free_space, expected_bytes, translated_errors
from deploy_ops.backup.encryption import ALGORITHM, Keyring
from deploy_ops.backup.entry import Backup, Level
from deploy_ops.backup.head import head_of
from deploy_ops.backup.manifest import (
    FORMAT,
    NAME,
    BackupId,
    Encryption,
    Manifest,
    SavedDatabase,
    SavedFile,
    SavedMedia,
    Verified,
    describe_files,
    dump_manifest,
    load_manifest,
    paths_in,
)
from deploy_ops.backup.media import copy_media, media_bytes
from deploy_ops.backup.methods import Method, Snapshot, method_for
from deploy_ops.backup.sequence import next_sequence
from deploy_ops.backup.storage import remote_storage
from deploy_ops.backup.workspace import PARTIAL, Workspace, open_workspace
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Identity, Json
from deploy_ops.errors import BackupCorrupt, BackupError, BackupFailed
from deploy_ops.files import (
    open_private,
    sync_tree,
    write_atomically,
)
from deploy_ops.ids import new_id
from deploy_ops.lock import DeployLock
from deploy_ops.places import backup_directory
from deploy_ops.progress import Progress, Silent
from deploy_ops.version import code_version

Fields = dict[str, Any]  # of the manifest, as they become known


class BackupMetadata(TypedDict, total=False):
    """What the manifest says besides: the operator's label, and the run that needs the backup."""

    label: str
    run: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """What is saved: the database itself, or a copy of it as it was at an earlier moment.

    `write_position` is the one before that moment, {} if not known; None for what the dump sees.
    """

    method: Method
    at: datetime
    write_position: Json | None = None


@dataclass(frozen=True, slots=True)
class BackupInProgress:
    """A backup being made: with what, where, and who is informed."""

    id: BackupId
    method: Method
    keys: HostKeys
    workspace: Workspace
    progress: Progress
    seconds: "Seconds"

    def path(self, name: str) -> Path:
        """Make a private directory of the backup."""
        directory = self.workspace.path / name
        directory.mkdir(mode=0o700)
        return directory


def take_backup(  # pylint: disable=too-many-arguments  # each a different caller's need
    alias: str,
    *,
    lock: DeployLock,
    progress: Progress = Silent(),
    jobs: int = 2,
    media: bool = False,
    source: Source | None = None,
    **metadata: Unpack[BackupMetadata],
) -> Backup:
    """Take one verified backup of a database; the lock must still be ours when it is finished.

    With `source` it is made of a copy, and the database itself is not read.
    Raises BackupFailed, ConfigurationError, DatabaseUnavailable, LockLost, Interrupted; nothing
    is left behind then, except that a backup whose copy to the storage failed is kept.
    """
    keys, source = host_keys(), source or Source(method_for(alias), datetime.now(UTC))
    keys.check_can_prove()
    database = database_for(alias).identify()
    needed = _check_before(source.method, database, backup_directory(), media)
    fields: Fields = {"database": SavedDatabase(alias=alias, **asdict(database))}
    fields |= {"started_at": source.at, "label": "", "run": None} | metadata
    with _begin(source, keys, needed, progress) as unfinished:
        fields |= _make(unfinished, jobs, media)
        if source.write_position is not None:
            fields["write_position"] = source.write_position
        failure = _upload(unfinished, fields["files"])
        lock.check()
        backup = _write_manifest(unfinished, fields)
    return _finish(backup, failure)


@contextmanager
def _begin(
    source: Source, keys: HostKeys, needed: int, progress: Progress
) -> Iterator[BackupInProgress]:
    """Begin a backup in a directory that vanishes unless it is finished."""
    method, backup_id, backup_dir = source.method, BackupId(new_id(source.at)), conf.backup_dir
    with (
        open_workspace(backup_dir, PARTIAL + backup_id) as workspace,
        translated_errors(backup_dir, needed, method.alias),
    ):
        yield BackupInProgress(backup_id, method, keys, workspace, progress, Seconds())


def _make(unfinished: BackupInProgress, jobs: int, media: bool) -> Fields:
    """Bring the backup under its own name, all but the manifest; return what that will say."""
    sequence, snapshot = next_sequence(conf.backup_dir), _dump(unfinished, jobs)
    fields: Fields = {"sequence": sequence, **asdict(snapshot)}
    fields["media"] = _copy_media(unfinished) if media else None
    _verify(unfinished)
    fields["encryption"] = _encrypt(unfinished)
    fields["files"] = _finalize_files(unfinished)
    return fields


class Seconds:
    """How long each phase took."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Time one phase."""
        begun = time.monotonic()
        yield
        self.phases[phase] = round(time.monotonic() - begun, 3)


def _check_before(method: Method, database: Identity, backup_dir: Path, media: bool) -> int:
    """Refuse what would fail later; return the bytes that the backup is expected to need."""
    if problems := method.check_backup():
        raise BackupFailed(
            "\n".join(problems) + "\nNo backup was made and the database was not changed."
        )
    needed = expected_bytes(database) + (media_bytes() if media else 0)
    check_free_space(backup_dir, needed, method.alias)
    return needed


def _dump(unfinished: BackupInProgress, jobs: int) -> Snapshot:
    directory = unfinished.path("database")
    with unfinished.seconds.measure("dump"):
        return unfinished.method.dump(directory, jobs=jobs, progress=unfinished.progress)


def _copy_media(unfinished: BackupInProgress) -> SavedMedia:
    directory = unfinished.path("media")
    with unfinished.seconds.measure("media"):
        return copy_media(directory, unfinished.progress, alias=unfinished.method.alias)


def _verify(unfinished: BackupInProgress) -> None:
    unfinished.progress.say("Verifying the backup: reading it to its end")
    with unfinished.seconds.measure("verify"):
        try:
            unfinished.method.read_through(unfinished.workspace.path / "database")
        except BackupCorrupt as error:
            raise BackupFailed(
                f"The backup was read to its end and is not sound: {error}\n"
                "It was removed again and the database was not changed. If it happens again, the "
                "database itself or the disk is damaged."
            ) from error


def _encrypt(unfinished: BackupInProgress) -> Encryption | None:
    """Seal every file, and open it again: a backup that its key does not open is none."""
    if (keys := unfinished.keys.keyring) is None:
        return None
    root = unfinished.workspace.path
    sizes = {path: (root / path).stat().st_size for path in paths_in(root)}
    with unfinished.seconds.measure("encrypt"):
        with unfinished.progress.track("Encrypt", sum(sizes.values())) as report:
            done = 0
            for path, size in sizes.items():
                _encrypt_file(keys, root / path, root / ".sealed", f"{unfinished.id}/{path}")
                done += size
                report(done)
    return Encryption(ALGORITHM, keys.current)


def _encrypt_file(keys: Keyring, plain: Path, sealed: Path, name: str) -> None:
    """Encrypt a file in its place; `sealed` is free until then, since a name may have no room."""
    with open(open_private(sealed), "wb") as file:
        keys.encrypt(plain, file, name)
    with plain.open("rb") as file:
        is_same = all(file.read(len(chunk)) == chunk for chunk in keys.decrypt(sealed, name))
        if not is_same or file.read(1):
            raise BackupFailed(
                f"{name} failed the encryption round trip: decrypted, it is not what was "
                "encrypted. No backup was made and the database was not changed. If it happens "
                "again, the memory or the disk of this host is damaged."
            )
    os.replace(sealed, plain)


def _finalize_files(unfinished: BackupInProgress) -> dict[str, SavedFile]:
    """Hash every file as it lies on disk, make all of it durable, and give it its name."""
    with unfinished.seconds.measure("hash"):
        files = describe_files(unfinished.workspace.path)
        sync_tree(unfinished.workspace.path)
    unfinished.workspace.rename(conf.backup_dir / unfinished.id)
    return files


def _upload(unfinished: BackupInProgress, files: Mapping[str, SavedFile]) -> BackupError | None:
    """Copy the files where STORAGES["backups"] is set; return why that failed, if it did.

    It is told at the end, since the backup here is as good without a copy.
    """
    with unfinished.seconds.measure("upload"):
        try:
            if remote := remote_storage():
                remote.upload(unfinished.id, unfinished.workspace.path, files, unfinished.progress)
        except BackupError as error:
            return error
    return None


def _write_manifest(unfinished: BackupInProgress, fields: Fields) -> Backup:
    now = datetime.now(UTC)
    written = fields | {
        "format": FORMAT,
        "id": unfinished.id,
        "finished_at": now,
        "code": code_version(),
        "seconds": unfinished.seconds.phases,
        "verified": Verified(Level.READ, now),
        "versions": fields["versions"] | _our_versions(),
    }
    content = dump_manifest(unfinished.keys.prove(Manifest(**written)))
    manifest = load_manifest(content)
    write_atomically(unfinished.workspace.path / NAME, content)
    unfinished.workspace.keep()
    verdict = unfinished.keys.judge(manifest, content)
    return Backup(
        unfinished.id, unfinished.workspace.path, head_of(manifest), verdict, known=manifest
    )


def _our_versions() -> dict[str, str]:
    return {
        "django": django.get_version(),
        "python": platform.python_version(),
        "deploy_ops": deploy_ops.__version__,
    }


def _finish(backup: Backup, failure: BackupError | None) -> Backup:
    """Complete the copy with its manifest; raises BackupFailed if there is no copy."""
    try:
        if failure is not None:
            raise failure
        if remote := remote_storage():
            remote.put_bytes(f"{backup.id}/{NAME}", (backup.directory / NAME).read_bytes())
            return replace(backup, remote_names=frozenset({NAME}))
    except BackupError as error:
        raise BackupFailed(
            f"Backup {backup.id} is complete in {backup.directory}, and its copy is not: {error}\n"
            "The database was not changed. Once the storage works again, take another one:\n"
            + manage("backup", alias=backup.manifest.database.alias)
        ) from error
    return backup
