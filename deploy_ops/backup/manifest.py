"""The manifest: what a backup is, in one JSON file that is written last and carries its checksum.

`files` names every file below `database/` and `media/` with its size and SHA-256 as it lies on
disk (encrypted, if the backup is). The JSON is canonical (sorted keys, no spaces) so that the
checksum can be recomputed by anybody: SHA-256 over that form without the field `checksum`.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NewType

from deploy_ops.errors import BackupCorrupt, UsageError

FORMAT = 1
NAME = "manifest.json"
BackupId = NewType("BackupId", str)
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
REQUIRED = frozenset(
    "format id sequence label run started_at finished_at database versions code migrations"
    " counts sequences mark extra files media encryption seconds verified checksum".split()
)
DATABASE = frozenset({"engine", "name", "host", "system_identifier", "size_bytes"})
ROOTS = ("database", "media")
HASH_THREADS = 2


def new_id(now: datetime) -> BackupId:
    """Make an id from the UTC time and four random bytes."""
    return BackupId(f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}")


def is_id(text: str) -> bool:
    """Whether a text has exactly the form of `new_id`, so that an id is never a path."""
    return bool(_ID.fullmatch(text))


def parse_id(text: str) -> BackupId:
    """Accept an id and nothing else; raises UsageError."""
    if not is_id(text):
        raise UsageError(
            f"{text!r} is not a backup id; ids look like 20260131T020000Z-0123abcd. "
            "Nothing was changed. See them:\n    python manage.py backups list"
        )
    return BackupId(text)


def seal(fields: dict[str, Any]) -> bytes:
    """Return the manifest file of these fields, with its checksum."""
    return _canonical({**fields, "checksum": _checksum(fields)}) + b"\n"


def open_sealed(content: bytes) -> dict[str, Any]:
    """Read a manifest file; raises BackupCorrupt if it was edited, cut off, or is unknown."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BackupCorrupt(f"The manifest is not JSON: {error}.") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise BackupCorrupt(f"The manifest is not of format {FORMAT}.")
    if missing := REQUIRED - set(fields):
        raise BackupCorrupt(f"The manifest lacks {', '.join(sorted(missing))}.")
    if not hmac.compare_digest(str(fields["checksum"]), _checksum(fields)):
        raise BackupCorrupt("The manifest does not match its checksum: it was edited or damaged.")
    try:
        _check_shape(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupCorrupt(f"The manifest has a field of another kind: {error}.") from error
    return fields


def _check_shape(fields: dict[str, Any]) -> None:
    """Look at what the catalog relies on, so that one odd manifest does not hide the others."""
    if datetime.fromisoformat(fields["started_at"]).tzinfo is None:
        raise ValueError("started_at has no time zone")
    if missing := DATABASE - set(fields["database"]):
        raise ValueError(f"database lacks {', '.join(sorted(missing))}")
    for path, facts in fields["files"].items():
        if not _is_inside(path) or not isinstance(facts["size"], int):
            raise ValueError(f"{path!r} is not a file of a backup")
    if not isinstance(fields["sequence"], int) or not isinstance(fields["verified"], dict):
        raise TypeError("sequence or verified")


def paths_in(directory: Path) -> Iterator[str]:
    """Name every file below the roots of a backup's directory, as a manifest names them."""
    for root in ROOTS:
        for path in sorted((directory / root).rglob("*")):
            if path.is_symlink() or not path.is_dir():
                yield path.relative_to(directory).as_posix()


def describe_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Measure every file of a backup: size in bytes and SHA-256.

    Two threads, since hashlib releases the GIL: hashing must not cost as much as dumping.
    """
    paths = list(paths_in(directory))
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        hashes = pool.map(lambda path: sha256_of(directory / path), paths)
        return {
            path: {"size": (directory / path).stat().st_size, "sha256": digest}
            for path, digest in zip(paths, hashes, strict=True)
        }


def sha256_of(path: Path) -> str:
    """Hash a file without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def total_bytes(files: Mapping[str, Any], root: str = "") -> int:
    """Add up the sizes that a manifest records, all or those below one root."""
    return sum(int(facts["size"]) for path, facts in files.items() if path.startswith(root))


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    is_plain = PurePosixPath(path).as_posix() == path and ".." not in parts and "\0" not in path
    return is_plain and len(parts) > 1 and parts[0] in ROOTS


def _checksum(fields: dict[str, Any]) -> str:
    body = {name: value for name, value in fields.items() if name != "checksum"}
    return hashlib.sha256(_canonical(body)).hexdigest()


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
