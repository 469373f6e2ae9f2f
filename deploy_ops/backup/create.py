"""Taking a backup: dump, verify, encrypt, name, copy; the manifest comes last and makes it one."""

import errno
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

import deploy_ops
from deploy_ops.backup.catalog import complete_backups
from deploy_ops.backup.encryption import ALGORITHM, Keyring, keyring
from deploy_ops.backup.engines import engine_for
from deploy_ops.backup.engines.base import Engine, Identity, Json, Snapshot
from deploy_ops.backup.entry import Backup, Level
from deploy_ops.backup.manifest import (
    FORMAT,
    NAME,
    BackupId,
    describe_files,
    new_id,
    open_sealed,
    paths_in,
    seal,
    total_bytes,
)
from deploy_ops.backup.media import copy_media, media_bytes
from deploy_ops.backup.storage import remote_storage
from deploy_ops.backup.workspace import PARTIAL, Workspace, guarded, workspace
from deploy_ops.conf import conf
from deploy_ops.errors import BackupCorrupt, BackupError, BackupFailed, Interrupted, ProgramError
from deploy_ops.files import open_private, private_directory, sync_tree, write_atomically
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent
from deploy_ops.version import code_version

GROWTH = 1.2
# A first dump has nothing to go by: SQLite's is the database itself; pg_dump leaves out the
# indexes and compresses the rest (research/backups.md, 3: 2057 MB became 158 MB).
FIRST_DUMP = {"sqlite": 1.1, "postgresql": 0.5}
ALMOST_FULL_BYTES = 32 * 1024 * 1024


def take_backup(
    alias: str,
    *,
    lock: DeployLock,
    label: str = "",
    jobs: int = 2,
    media: bool = False,
    run: str | None = None,
    progress: Progress = Silent(),
) -> Backup:
    """Take one verified backup of a database; the lock must still be ours when it is finished.

    Raises BackupFailed, ConfigurationError, DatabaseUnavailable, LockLost, Interrupted; nothing
    is left behind then, except that a backup whose copy to the storage failed is kept.
    """
    engine, started = engine_for(alias), datetime.now(UTC)
    source, vault, keys = engine.identify(), private_directory(conf.backup_dir), keyring()
    needed = _check_before(engine, source, vault, media)
    backup_id, seconds = new_id(started), Seconds()
    with workspace(vault, PARTIAL + backup_id) as room, _explained(vault, needed):
        sequence = _next_sequence(vault)
        snapshot = _dump(engine, room.path, jobs, progress, seconds)
        uploads = _media(room.path, progress, seconds) if media else None
        _verify(engine, room.path, progress, seconds)
        sealed = _encrypt(keys, room.path, backup_id, progress, seconds) if keys else None
        files = _settle(room, vault / backup_id, seconds)
        failure = _upload(backup_id, room.path, files, progress, seconds)
        facts = {"id": backup_id, "sequence": sequence, "label": label, "run": run}
        facts |= {"started_at": _text(started), "media": uploads, "encryption": sealed}
        facts |= {"database": asdict(source) | {"alias": alias}, "files": files}
        facts |= {"seconds": seconds.phases}
        lock.check()
        manifest = _write_manifest(room, facts, snapshot)
    return _finish(Backup(backup_id, vault / backup_id, manifest), failure)


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


def _check_before(engine: Engine, source: Identity, vault: Path, media: bool) -> int:
    """Refuse what would fail later; return the bytes that the backup is expected to need."""
    if problems := engine.check_backup():
        raise BackupFailed(
            "\n".join(problems) + "\nNo backup was made and the database was not changed."
        )
    needed = _expected_bytes(source) + (media_bytes() if media else 0)
    if (free := shutil.disk_usage(vault).free) < needed:
        raise BackupFailed(_no_room(vault, free, needed))
    return needed


def _expected_bytes(source: Identity) -> int:
    previous = [backup for backup in complete_backups() if backup.belongs_to(source)]
    if previous:
        return int(GROWTH * total_bytes(previous[-1].manifest["files"], "database/"))
    return int(FIRST_DUMP[source.engine] * source.size_bytes)


def _next_sequence(vault: Path) -> int:
    """Count backups on, across the storage too, so that order never depends on a clock."""
    counter = vault / ".sequence"
    known = max((backup.sequence for backup in complete_backups()), default=0)
    with guarded(vault):
        counted = int(counter.read_text()) if counter.exists() else 0
        number = max(known, counted) + 1
        write_atomically(counter, str(number).encode())
    return number


def _dump(engine: Engine, room: Path, jobs: int, progress: Progress, seconds: Seconds) -> Snapshot:
    directory = room / "database"
    directory.mkdir(mode=0o700)
    with seconds.measure("dump"):
        return engine.dump(directory, jobs=jobs, progress=progress)


def _media(room: Path, progress: Progress, seconds: Seconds) -> Json:
    directory = room / "media"
    directory.mkdir(mode=0o700)
    with seconds.measure("media"):
        return copy_media(directory, progress)


def _verify(engine: Engine, room: Path, progress: Progress, seconds: Seconds) -> None:
    progress.say("Verifying the backup: reading it to its end")
    with seconds.measure("verify"):
        try:
            engine.read_through(room / "database")
        except BackupCorrupt as error:
            raise BackupFailed(
                f"The backup was read to its end and is not sound: {error}\n"
                "It was removed again and the database was not changed. If it happens again, the "
                "database itself or the disk is damaged."
            ) from error


def _encrypt(
    keys: Keyring, room: Path, backup_id: BackupId, progress: Progress, seconds: Seconds
) -> Json:
    """Seal every file, and open it again: a backup that its key does not open is none."""
    paths = list(paths_in(room))
    total = sum((room / path).stat().st_size for path in paths)
    with seconds.measure("encrypt"), progress.track("Encrypt", total) as report:
        done = 0
        for path in paths:
            done += (room / path).stat().st_size
            _encrypt_file(keys, room / path, f"{backup_id}/{path}")
            report(done)
    return {"algorithm": ALGORITHM, "key": keys.current}


def _encrypt_file(keys: Keyring, plain: Path, name: str) -> None:
    sealed = plain.with_name(f"{plain.name}.sealed")
    with open(open_private(sealed), "wb") as file:
        keys.encrypt(plain, file, name)
    with plain.open("rb") as file:
        is_same = all(file.read(len(chunk)) == chunk for chunk in keys.decrypt(sealed, name))
        if not is_same or file.read(1):
            raise BackupFailed(f"{name} was not the same after encrypting and decrypting it.")
    os.replace(sealed, plain)


def _settle(room: Workspace, final: Path, seconds: Seconds) -> dict[str, Any]:
    """Hash every file as it lies on disk, make all of it durable, and give it its name."""
    with seconds.measure("hash"):
        files = describe_files(room.path)
        sync_tree(room.path)
    room.rename(final)
    return files


def _upload(
    backup_id: BackupId, room: Path, files: dict[str, Any], progress: Progress, seconds: Seconds
) -> BackupError | None:
    """Copy the files where STORAGES["backups"] is set; a failure is told at the end, since the
    backup here is as good without it."""
    with seconds.measure("upload"):
        try:
            if remote := remote_storage():
                remote.upload(backup_id, room, files, progress)
        except BackupError as error:
            return error
    return None


def _write_manifest(room: Workspace, facts: Json, snapshot: Snapshot) -> Json:
    now = _text(datetime.now(UTC))
    content = seal(
        facts
        | asdict(snapshot)
        | {
            "format": FORMAT,
            "finished_at": now,
            "code": code_version(),
            "verified": {"level": Level.READ, "at": now},
            "versions": {
                **snapshot.versions,
                "django": django.get_version(),
                "python": platform.python_version(),
                "deploy_ops": deploy_ops.__version__,
            },
        }
    )
    manifest = open_sealed(content)
    write_atomically(room.path / NAME, content)
    room.keep()
    return manifest


def _finish(backup: Backup, failure: BackupError | None) -> Backup:
    """Complete the copy with its manifest; raises BackupFailed if there is no copy."""
    try:
        if failure is not None:
            raise failure
        if remote := remote_storage():
            remote.put_bytes(f"{backup.id}/{NAME}", (backup.directory / NAME).read_bytes())
            return Backup(backup.id, backup.directory, backup.manifest, frozenset({NAME}))
    except BackupError as error:
        raise BackupFailed(
            f"Backup {backup.id} is complete in {backup.directory}, and its copy is not: {error}\n"
            "The database was not changed. When the storage is well again:\n"
            "    python manage.py backup"
        ) from error
    return backup


@contextmanager
def _explained(vault: Path, needed: int) -> Iterator[None]:
    """Say what went wrong in our own words, whoever noticed it."""
    try:
        yield
    except (OSError, ProgramError) as error:
        raise BackupFailed(_why_failed(error, vault, needed)) from error
    except KeyboardInterrupt as error:
        raise Interrupted(
            "The backup was stopped by the operator and what was written of it removed. "
            "The database was not changed."
        ) from error


def _why_failed(error: Exception, vault: Path, needed: int) -> str:
    free = shutil.disk_usage(vault).free
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if is_full or free < ALMOST_FULL_BYTES:
        return _no_room(vault, free, needed)
    return (
        f"The backup failed: {error}\n"
        "What was written of it was removed and the database was not changed. Then again:\n"
        "    python manage.py backup"
    )


def _no_room(vault: Path, free: int, needed: int) -> str:
    return (
        f"{vault} has {free / 1e6:.1f} MB free, and the backup needs about {needed / 1e6:.1f} MB. "
        "No backup was made and the database was not changed. Older backups were not removed to "
        "make room. See which are no longer needed, and remove them:\n"
        "    python manage.py backups prune"
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
