"""The copy of backups in STORAGES["backups"]: any Django storage, S3 for one.

Only the storage API is used. The manifest goes up last and comes down first, so that what has no
manifest object is no backup, whatever an interrupted upload or deletion left. Every file is read
back and its hash compared before that.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import InvalidStorageError, Storage, storages

from deploy_ops.backup.manifest import NAME, BackupId, SavedFile, sha256_of
from deploy_ops.backup.workspace import make_parents
from deploy_ops.errors import BackupCorrupt, BackupError, DeployOpsError
from deploy_ops.files import open_private
from deploy_ops.progress import Progress
from deploy_ops.redact import redact

ALIAS = "backups"
CHUNK_BYTES = 1024 * 1024
Found = TypeVar("Found")
AT_ONCE = 16  # small requests, which wait for the network and not for a processor


def remote_storage() -> "Remote | None":
    """Return STORAGES["backups"], None if the project has none."""
    try:
        return Remote(storages[ALIAS])
    except InvalidStorageError as error:
        if ALIAS not in storages.backends:
            return None
        raise BackupError(
            f'STORAGES["{ALIAS}"] cannot be used: {error} Nothing was changed.'
        ) from error


class Remote:
    """Backups in a storage, one folder each."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def ids(self) -> list[str]:
        """Name the folders, complete or not."""
        with _translated("list backups"):
            try:
                return sorted(self._storage.listdir("")[0])
            except FileNotFoundError:  # a file system storage that nothing was written to yet
                return []

    def names(self, backup_id: str) -> frozenset[str]:
        """Name the files at the top of a backup's folder: manifest and marks."""
        with _translated(f"list backup {backup_id}"):
            try:
                return frozenset(self._storage.listdir(backup_id)[1])
            except FileNotFoundError:
                return frozenset()

    def names_of(self, ids: Collection[str]) -> dict[str, frozenset[str]]:
        """The `names` of many backups; a storage answers one request for each."""
        return dict(zip(ids, side_by_side(self.names, ids), strict=True))

    def read_manifest(self, backup_id: str) -> bytes:
        """Return the content of the manifest object."""
        with _translated(f"read the manifest of {backup_id}"):
            with self._storage.open(f"{backup_id}/{NAME}") as file:
                return bytes(file.read())

    def upload(
        self,
        backup_id: BackupId,
        directory: Path,
        files: Mapping[str, SavedFile],
        progress: Progress,
    ) -> None:
        """Copy every file and read it back; raises BackupError if one arrives changed."""
        total = sum(saved.size for saved in files.values())
        with progress.track("Copy to storage", total) as report:
            done = 0
            for path, saved in files.items():
                with (directory / path).open("rb") as file:
                    self.put(_object(backup_id, path), File(file))
                self._compare(backup_id, path, saved.sha256)
                done += saved.size
                report(done)

    def put(self, name: str, content: "File[bytes]") -> None:
        """Save under exactly this name; raises BackupError if the storage chose another."""
        with _translated(f"write {name}"):
            saved = self._storage.save(name, content)
        if saved != name:
            with _translated(f"delete {saved}"):
                self._storage.delete(saved)
            raise BackupError(
                f'STORAGES["{ALIAS}"] has an object named {name} already, so it saved the new one '
                f"as {saved}, which was removed again. See which backup the object belongs to, and "
                "delete it there if none does."
            )

    def put_bytes(self, name: str, content: bytes) -> None:
        """Save small content under exactly this name."""
        self.put(name, ContentFile(content))

    def digest(self, backup_id: str, path: str) -> str:
        """Read an object to its end and return its SHA-256."""
        sha256 = hashlib.sha256()
        with _translated(f"read {path} of {backup_id}"):
            with self._storage.open(_object(backup_id, path)) as file:
                for chunk in file.chunks(CHUNK_BYTES):
                    sha256.update(chunk)
        return sha256.hexdigest()

    def fetch(self, backup_id: str, files: Mapping[str, SavedFile], target: Path) -> None:
        """Bring every file below a directory; raises BackupCorrupt if one is not as recorded."""
        for path, saved in files.items():
            make_parents(target, path)
            with _translated(f"read {path} of {backup_id}"):
                with self._storage.open(_object(backup_id, path)) as source:
                    with open(open_private(target / path), "wb") as file:
                        shutil.copyfileobj(source, file, CHUNK_BYTES)
            if sha256_of(target / path) != saved.sha256:
                raise _changed(backup_id, path)

    def remove(self, name: str) -> None:
        """Delete one object."""
        with _translated(f"delete {name}"):
            self._storage.delete(name)

    def delete(self, backup_id: str) -> None:
        """Delete a backup, its manifest first: from then on it is none."""
        with _translated(f"delete backup {backup_id}"):
            self._storage.delete(f"{backup_id}/{NAME}")
            self._delete_folder(backup_id)

    def _delete_folder(self, folder: str) -> None:
        directories, names = self._storage.listdir(folder)
        for directory in directories:
            self._delete_folder(f"{folder}/{directory}")
        for name in names:
            self._storage.delete(f"{folder}/{name}")
        self._storage.delete(folder)  # a directory in a file system; object stores have none

    def _compare(self, backup_id: str, path: str, sha256: str) -> None:
        if self.digest(backup_id, path) != sha256:
            raise _changed(backup_id, path)


def side_by_side(ask: Callable[[str], Found], items: Collection[str]) -> list[Found]:
    """Ask the storage about many, several at once; what the first failure is, is raised."""
    if not items:
        return []
    with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
        return list(pool.map(ask, items))  # where one fails, those not yet asked are not asked


def _object(backup_id: str, path: str) -> str:
    """Name the object of a file.

    Its own name, but for what storages change or refuse: bytes that are no UTF-8, and backslashes,
    which Django's file systems take for slashes. The manifest has the name of the file.
    """
    is_refused = "\\" in path or any("\udc80" <= letter <= "\udcff" for letter in path)  # PEP 383
    name = f"renamed/{hashlib.sha256(os.fsencode(path)).hexdigest()}" if is_refused else path
    return f"{backup_id}/{name}"


def _changed(backup_id: str, path: str) -> BackupCorrupt:
    return BackupCorrupt(
        f'{path} of backup {backup_id} in STORAGES["{ALIAS}"] does not have the SHA-256 that its '
        "manifest records."
    )


@contextmanager
def _translated(verb: str) -> Iterator[None]:
    """Turn whatever a storage raises (each has its own exceptions) into BackupError."""
    try:
        yield
    except DeployOpsError:
        raise
    except Exception as error:
        raise BackupError(
            f'STORAGES["{ALIAS}"] could not {verb}: {type(error).__name__}: {redact(str(error))}'
        ) from error
