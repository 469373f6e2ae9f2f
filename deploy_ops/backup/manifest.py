"""The manifest: what a backup is, in one JSON file that is written last.

`files` names every file below `database/` and `media/` with its size and SHA-256 as it lies on
disk (encrypted, if the backup is), so whoever proves the manifest proves them. The JSON is
canonical (sorted keys, no spaces), and anything else is refused, so that what was parsed is what
was proven. `checksum` is SHA-256 over that form of all other fields: it finds damage, not forgery.
`mac` and `signature` prove where the manifest comes from (authenticity.py).
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NewType

from deploy_ops.backup.decode import Undecodable, decode
from deploy_ops.databases.base import Identity
from deploy_ops.errors import BackupCorrupt, BackupUnreadable, UsageError
from deploy_ops.ids import is_id

FORMAT = 4
READABLE = (3, FORMAT)  # 3 has its times in whole seconds
NAME = "manifest.json"
BackupId = NewType("BackupId", str)
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
FIRST_FIELD = len(b'{"checksum":"' + b"0" * 64 + b'",')
PROOFS = ("mac", "signature", "checksum")
LAST_SEQUENCE = 2**63 - 1
ROOTS = ("database", "media")
HASH_THREADS = 2


class Level(StrEnum):
    """How far a backup was verified; each level includes those before it."""

    MANIFEST = "manifest"
    HASH = "hash"
    READ = "read"
    RESTORE = "restore"

    @property
    def rank(self) -> int:
        """Position on the ladder, from 0."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Level)}


@dataclass(frozen=True, slots=True)
class SavedDatabase(Identity):
    """Which database was saved, and under which alias."""

    alias: str


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file as it lies on disk: bytes and SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SavedMedia:
    """How many uploads and bytes were saved, and how many links, sockets and so on left out."""

    files: int
    bytes: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Encryption:
    """How the files are encrypted, and the id of the key."""

    algorithm: str
    key: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The first verification: how far, and when."""

    level: Level
    at: datetime


@dataclass(frozen=True, slots=True)
class Proof:
    """A MAC or a signature over the manifest in hexadecimal, and the id of the key that made it."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Manifest:  # pylint: disable=too-many-instance-attributes  # one file, docs/reference
    """What `manifest.json` says (docs/reference/manifest.md has the meaning of each field).

    `write_position` and `extra` are the engine's own JSON. `checksum` is empty until it is written.
    """

    format: int
    id: BackupId
    sequence: int
    label: str
    run: str | None
    started_at: datetime
    finished_at: datetime
    database: SavedDatabase
    versions: Mapping[str, str]
    code: str
    migrations: tuple[tuple[str, str], ...]
    counts: Mapping[str, int]
    sequences: Mapping[str, int]
    write_position: dict[str, Any]
    extra: dict[str, Any]
    files: Mapping[str, SavedFile]
    media: SavedMedia | None
    encryption: Encryption | None
    seconds: Mapping[str, float]
    verified: Verified
    mac: Proof | None = None
    signature: Proof | None = None
    checksum: str = ""

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return total_bytes(self.files)

    def body(self) -> bytes:
        """What the proofs are about: the canonical form of every field but the proofs."""
        return _canonical(
            {name: value for name, value in _plain(self).items() if name not in PROOFS}
        )


REQUIRED = frozenset(field.name for field in fields(Manifest))


def parse_id(text: str) -> BackupId:
    """Accept an id and nothing else; raises UsageError."""
    if not is_id(text):
        raise UsageError(
            f"{text!r} is not a backup id; ids look like 20260131T020000Z-0123abcd. "
            "Nothing was changed. See them:\n    python manage.py backups list"
        )
    return BackupId(text)


def dump_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as its file has it, with its checksum."""
    checksum = _checksum(_canonical(replace(manifest, checksum="0" * 64)))
    return _canonical(replace(manifest, checksum=checksum)) + b"\n"


def load_manifest(content: bytes) -> Manifest:
    """Read a manifest file; raises BackupCorrupt if it was edited or cut off, BackupUnreadable if
    another version made it.

    Says nothing about where it comes from: that is asked of authenticity.
    """
    try:
        found = json.loads(content)
        canonical = _canonical(found)
    except (ValueError, RecursionError) as error:
        raise BackupCorrupt(f"The manifest is not JSON: {error}.") from error
    formats = " and ".join(map(str, READABLE))
    if not isinstance(found, dict) or found.get("format") not in READABLE:
        if isinstance(found, dict) and found.get("checksum") == _checksum(canonical):
            raise BackupUnreadable(
                f"Its manifest is sound and of format {found.get('format')!r}, and this version of "
                f"deploy_ops reads formats {formats}."
            )
        raise BackupCorrupt(f"The manifest is not of formats {formats}.")
    if missing := REQUIRED - set(found):
        raise BackupCorrupt(f"The manifest lacks {', '.join(sorted(missing))}.")
    if found["checksum"] != _checksum(canonical):
        raise BackupCorrupt("The manifest does not match its checksum: it was edited or damaged.")
    try:
        manifest: Manifest = decode(Manifest, found, "manifest")
        _check_values(manifest)
    except Undecodable as error:
        shown = str(error).encode("unicode_escape").decode()  # names of fields are foreign text
        raise BackupCorrupt(f"The manifest has a field of another kind: {shown}.") from error
    if canonical + b"\n" != content:
        raise BackupCorrupt("The manifest is not in canonical form: it was edited or damaged.")
    return manifest


def body_of(content: bytes, manifest: Manifest) -> bytes:
    """The manifest's `body`, cut out of the file that load_manifest made it of: encoding it again
    costs as much as all the rest.

    What is cut is found but once, so it is the field: quotation marks inside texts are escaped.
    """
    body = b"{" + content[FIRST_FIELD:-1]
    mac, signature = _canonical(manifest.mac), _canonical(manifest.signature)
    for start, value, end in (
        (b',"mac":', mac, b',"media":'),
        (b',"signature":', signature, b',"started_at":'),
    ):
        if body.count(start + value + end) != 1:  # `extra` may hold the like
            return manifest.body()
        body = body.replace(start + value + end, end)
    return body


def _check_values(manifest: Manifest) -> None:
    """Refuse what has the right kind and still would mislead the catalog."""
    if not is_id(manifest.id):
        raise Undecodable("id is none")
    for path, file in manifest.files.items():
        if not _is_inside(path) or file.size < 0:
            raise Undecodable(f"{path!r} is not a file of a backup")
    if not 0 < manifest.sequence <= LAST_SEQUENCE:
        raise Undecodable("sequence is out of range")
    for name in ("encryption", "mac", "signature"):
        if (named := getattr(manifest, name)) and not KEY_ID.fullmatch(named.key):
            raise Undecodable(f"{name} names a key that cannot be one")


def paths_in(directory: Path) -> Iterator[str]:
    """Name every file below the roots of a backup's directory, as a manifest names them."""
    for root in ROOTS:
        for path in sorted((directory / root).rglob("*")):
            if path.is_symlink() or not path.is_dir():
                yield path.relative_to(directory).as_posix()


def describe_files(directory: Path) -> dict[str, SavedFile]:
    """Measure every file of a backup: size in bytes and SHA-256.

    Two threads, since hashlib releases the GIL: hashing must not cost as much as dumping.
    """
    paths = list(paths_in(directory))
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        hashes = pool.map(lambda path: sha256_of(directory / path), paths)
        return {
            path: SavedFile((directory / path).stat().st_size, digest)
            for path, digest in zip(paths, hashes, strict=True)
        }


def sha256_of(path: Path) -> str:
    """Hash a file without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def total_bytes(files: Mapping[str, SavedFile], root: str = "") -> int:
    """Add up the sizes that a manifest records, all or those below one root."""
    return sum(file.size for path, file in files.items() if path.startswith(root))


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    is_plain = not {"", ".", ".."} & {*parts} and "\0" not in path
    return is_plain and len(parts) > 1 and parts[0] in ROOTS


def _checksum(canonical: bytes) -> str:
    """SHA-256 of the canonical form of all other fields: `checksum` sorts before them."""
    return hashlib.sha256(b"{" + canonical[FIRST_FIELD:]).hexdigest()


def _canonical(value: object) -> bytes:
    # In JSON, backslashreplace makes of bytes that are no UTF-8 (PEP 383) what they are escaped as.
    return _ENCODER.encode(value).encode(errors="backslashreplace")


def _plain(value: object) -> Any:
    """One level of a value as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no form in a manifest")


_ENCODER = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    check_circular=False,  # what comes out of JSON or of frozen values has no circles
    default=_plain,
)
