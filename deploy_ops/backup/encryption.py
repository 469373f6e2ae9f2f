"""Encryption at rest: chunked AEAD, so that a file of any size is sealed chunk by chunk.

STREAM (Hoang, Reyhanitabar, Rogaway, Vizar 2015), laid out as in Tink's AES-GCM-HKDF streaming:
    header: magic, length and text of the key id, 32 random bytes (salt), 7 random bytes (prefix)
    chunk:  AES-256-GCM of 1 MiB; nonce = prefix, 4-byte counter, 1 byte that is 1 in the last one
The key of a file is derived from the salt, so that no nonce is used twice with one key however
many files there are. Header and name of the file are associated data: a chunk moved, dropped or
added, a file cut at a chunk's border, and two files swapped all fail to decrypt.
"""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from deploy_ops.backup.key_files import KeyFile, cryptography_library
from deploy_ops.backup.manifest import KEY_ID
from deploy_ops.conf import conf
from deploy_ops.errors import BackupCorrupt, ConfigurationError
from deploy_ops.redact import Secret

ALGORITHM = "AES-256-GCM-HKDF-1MiB"
MAGIC = b"deploy_ops\x01"
CHUNK_BYTES = 1024 * 1024
TAG_BYTES = 16
SALT_BYTES = 32
PREFIX_BYTES = 7
SETTING = "DEPLOY_OPS_BACKUP_KEY_FILE"
MAC_INFO = b"deploy_ops manifest HMAC-SHA256"  # another key than any file's, from the same secret
_MAKE_KEY = 'echo "2026:$(openssl rand -base64 32)" > {path} && chmod 600 {path}'


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of DEPLOY_OPS_BACKUP_KEY_FILE: the first makes, every one reads and checks."""

    keys: Mapping[str, Secret]
    _mac_keys: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def current(self) -> str:
        """Id of the key for new backups."""
        return next(iter(self.keys))

    def encrypt(self, source: Path, target: IO[bytes], name: str) -> None:
        """Seal a file under the first key, bound to its name within the backups."""
        key_id = self.current.encode()
        salt, prefix = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(PREFIX_BYTES)
        header = MAGIC + bytes([len(key_id)]) + key_id + salt + prefix
        cipher = self._cipher(self.current, salt)
        target.write(header)
        with source.open("rb") as file:
            for nonce, chunk in _numbered(file, CHUNK_BYTES, prefix):
                target.write(cipher.encrypt(nonce, chunk, header + os.fsencode(name)))

    def decrypt(self, source: Path, name: str) -> Iterator[bytes]:
        """Yield the plain chunks of a file; raises BackupCorrupt at the first that is not ours."""
        with source.open("rb") as file:
            key_id, salt, prefix, header = _read_header(file, name)
            cipher = self._cipher(key_id, salt)
            for nonce, chunk in _numbered(file, CHUNK_BYTES + TAG_BYTES, prefix):
                try:
                    yield cipher.decrypt(nonce, chunk, header + os.fsencode(name))
                except cryptography_library(SETTING).InvalidTag:
                    raise _damaged(name, key_id, nonce) from None

    def mac(self, key_id: str, message: bytes) -> str:
        """HMAC-SHA256 of a message in hexadecimal, under a key that is derived for this alone."""
        if key_id not in self._mac_keys:
            secret = base64.b64decode(self.keys[key_id].reveal())
            library = cryptography_library(SETTING)
            derived = library.HKDF(library.SHA256(), 32, None, MAC_INFO).derive(secret)
            self._mac_keys[key_id] = derived  # a catalog asks for the same thousands of times
        return hmac.digest(self._mac_keys[key_id], message, "sha256").hex()

    def _cipher(self, key_id: str, salt: bytes) -> Any:
        library = cryptography_library(SETTING)
        if key_id not in self.keys:
            raise ConfigurationError(
                f"The backup is encrypted with key '{key_id}', which DEPLOY_OPS_BACKUP_KEY_FILE "
                f"does not hold (it holds: {', '.join(self.keys) or 'none'}). Nothing was changed. "
                "Add that key to the file; without it the backup cannot be read by anybody."
            )
        secret = base64.b64decode(self.keys[key_id].reveal())
        return library.AESGCM(library.HKDF(library.SHA256(), 32, salt, MAGIC).derive(secret))


def keyring() -> Keyring | None:
    """Read DEPLOY_OPS_BACKUP_KEY_FILE, None if not set; raises ConfigurationError."""
    path = conf.backup_key_file
    if path is None:
        return None
    cryptography_library(SETTING)
    file = KeyFile(SETTING, path, _MAKE_KEY)
    return Keyring(_parse(file, file.read_private()))


def keyring_for(key_id: str) -> Keyring:
    """Return the keys to read an encrypted backup with; raises ConfigurationError without any."""
    keys = keyring()
    if keys is None:
        raise ConfigurationError(
            f"The backup is encrypted with key '{key_id}', and DEPLOY_OPS_BACKUP_KEY_FILE is not "
            "set. Nothing was changed. Set it to the file that holds the key."
        )
    return keys


def _parse(file: KeyFile, text: str) -> Mapping[str, Secret]:
    keys: dict[str, Secret] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key_id, _, encoded = line.strip().partition(":")
        if not KEY_ID.fullmatch(key_id) or not _is_key(encoded):
            raise file.invalid(f"line {number} is not `key-id:base64 of 32 bytes`")
        if key_id in keys:
            raise file.invalid(f"line {number} repeats key id '{key_id}'")
        keys[key_id] = Secret(encoded)
    if not keys:
        raise file.invalid("holds no key")
    return keys


def _is_key(encoded: str) -> bool:
    try:
        return len(base64.b64decode(encoded, validate=True)) == 32
    except binascii.Error:
        return False


def _read_header(file: IO[bytes], name: str) -> tuple[str, bytes, bytes, bytes]:
    start = file.read(len(MAGIC) + 1)
    rest = file.read(start[-1] + SALT_BYTES + PREFIX_BYTES) if start[:-1] == MAGIC else b""
    if not rest or len(rest) != start[-1] + SALT_BYTES + PREFIX_BYTES:
        raise BackupCorrupt(f"{name} is not an encrypted backup file.")
    key_id, salt = rest[: start[-1]], rest[start[-1] : -PREFIX_BYTES]
    if not KEY_ID.fullmatch(key_id.decode("ascii", "replace")):
        raise BackupCorrupt(f"{name} has an invalid key id.")
    return key_id.decode(), salt, rest[-PREFIX_BYTES:], start + rest


def _numbered(file: IO[bytes], size: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield chunks with their nonces; an empty file has one empty chunk, so that it has an end."""
    counter, chunk = 0, file.read(size)
    while True:
        following = file.read(size)
        yield prefix + counter.to_bytes(4, "big") + bytes([not following]), chunk
        if not following:
            return
        counter, chunk = counter + 1, following


def _damaged(name: str, key_id: str, nonce: bytes) -> BackupCorrupt:
    chunk = int.from_bytes(nonce[PREFIX_BYTES:-1], "big")
    return BackupCorrupt(
        f"{name} does not decrypt with key '{key_id}' at chunk {chunk}: it was changed, cut off "
        "or swapped, or the key file holds another key under this id."
    )
