"""From the bytes of a manifest to its head and what the keys of this host say to it.

That takes half a millisecond, and a catalog has thousands. So heads are kept in one file, each
under the SHA-256 of the bytes that it was found in: whoever has these bytes before them has the
head, whatever became of the file since. A changed manifest has other bytes, and is judged anew.

The file holds usable backups only, and is proven as a manifest is, by a MAC of the keys that
judged: with other keys, damaged, or written by somebody else it counts for nothing, and is written
anew. A host that has only public keys could prove nothing by them, and keeps none. It may be
deleted at any time, and two that write it at once write the same facts (docs/decisions/0039).
"""

import hmac
import json
import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from deploy_ops.backup.authenticity import HostKeys, Trust, Verdict
from deploy_ops.backup.decode import Undecodable, decode
from deploy_ops.backup.head import Head, head_of
from deploy_ops.backup.manifest import Manifest, load_manifest
from deploy_ops.files import read_object, read_private, write_atomically

NAME = ".heads"
WORTH_WRITING = 100  # manifests judged anew: 50 ms, about what writing the file takes
_CONTEXT = b"deploy_ops heads 1\n"  # no manifest begins so
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a manifest; `manifest` is there where it was loaded for this."""

    head: Head
    verdict: Verdict
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """One row of the file."""

    head: Head
    trust: Trust


class Judge:
    """Judges manifests by the keys of this host; raises what load_manifest raises."""

    def __init__(self, keys: HostKeys) -> None:
        self._keys = keys

    def judge(self, content: bytes) -> Judged:
        """Load and judge one."""
        manifest = load_manifest(content)
        return Judged(head_of(manifest), self._keys.judge(manifest, content), manifest)


class JudgeOfMany(Judge):
    """Judges a whole catalog, with the heads that are kept in its directory."""

    def __init__(self, keys: HostKeys, backup_dir: Path) -> None:
        super().__init__(keys)
        self._path = backup_dir / NAME
        self._is_proving = bool(keys.keyring) or not keys.public
        self._kept = self._read() if self._is_proving else {}
        self._found: dict[str, Any] = {}
        self._new = 0

    def judge(self, content: bytes) -> Judged:
        """Judge one by its kept head, or anew; of neither is the manifest held in memory."""
        digest = sha256(content).hexdigest()
        if (row := self._kept.get(digest)) is not None:
            try:
                kept: _Kept = decode(_Kept, row, "head")
            except Undecodable:  # of another version of this code
                pass
            else:
                self._found[digest] = row
                return Judged(kept.head, Verdict(kept.trust))
        judged = super().judge(content)
        if judged.verdict.is_usable and self._is_proving:
            self._found[digest] = asdict(_Kept(judged.head, judged.verdict.trust))
            self._new += 1
        return Judged(judged.head, judged.verdict)

    def keep(self) -> None:
        """Write the heads that were found, where that saves the next one work."""
        if self._new < WORTH_WRITING or not self._path.parent.is_dir():
            return
        rows = json.dumps(self._found, default=datetime.isoformat).encode()
        try:
            write_atomically(self._path, self._proof(rows).encode() + b"\n" + rows)
        except OSError as error:  # a full disk: what is listed is as right without
            logger.debug("%s cannot be written: %s", self._path, error.strerror)

    def _read(self) -> dict[str, Any]:
        try:
            proof, _, rows = read_private(self._path).partition(b"\n")
        except OSError:
            return {}
        if not hmac.compare_digest(proof, self._proof(rows).encode()):
            return {}
        return read_object(rows) or {}

    def _proof(self, rows: bytes) -> str:
        """A MAC that no other set of keys makes; without keys a checksum, as a manifest has."""
        ring = self._keys.keyring
        held = [ring.mac(key, _CONTEXT) for key in ring.keys] if ring else []
        message = _CONTEXT + json.dumps([held, sorted(self._keys.public)]).encode() + rows
        return ring.mac(ring.current, message) if ring else sha256(message).hexdigest()
