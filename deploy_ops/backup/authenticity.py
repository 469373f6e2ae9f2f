"""Where a backup comes from: proofs over its manifest, and what the keys of this host say to them.

mac        HMAC-SHA256 under a key derived from the one in DEPLOY_OPS_BACKUP_KEY_FILE that encrypts
signature  Ed25519, DEPLOY_OPS_BACKUP_SIGNING_KEY_FILE: for hosts that check and must not decrypt

The manifest has the SHA-256 of every file, so that a proof of it is one of them all. Which check is
made follows from the field and from the keys of this host, never from a name of an algorithm in the
manifest; a public key is never used as a secret. A host that has any of these keys takes nothing
that it cannot prove; one that has none asks nothing (docs/decisions/0013).
"""

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from deploy_ops.backup.encryption import Keyring, keyring
from deploy_ops.backup.key_files import KeyFile, cryptography_library
from deploy_ops.backup.manifest import Manifest, Proof, body_of
from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError

KEYS = "DEPLOY_OPS_BACKUP_KEY_FILE"
SIGNING = "DEPLOY_OPS_BACKUP_SIGNING_KEY_FILE"
VERIFY = "DEPLOY_OPS_BACKUP_VERIFY_KEY_FILE"
CONTEXT = b"deploy_ops manifest\n"  # what is signed is a manifest and nothing else
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.S)
_MAKE_SIGNING = "openssl genpkey -algorithm ed25519 -out {path} && chmod 600 {path}"
_MAKE_VERIFY = "openssl pkey -in backup-signing.pem -pubout -out {path}"


class Trust(StrEnum):
    """Whether a backup may be used, and why."""

    PROVEN = "proven"
    NOT_ASKED = "not asked"
    ACCEPTED = "accepted"
    UNPROVEN = "unproven"
    DISPROVED = "disproved"
    KEY_MISSING = "key missing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the keys of this host say to a manifest; `reason` is a sentence where it is not used."""

    trust: Trust
    reason: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether it is proven, or nobody asks for a proof, or an operator answers for it."""
        return self.trust in (Trust.PROVEN, Trust.NOT_ASKED, Trust.ACCEPTED)


@dataclass(frozen=True, slots=True)
class HostKeys:
    """The keys of this host: secret ones prove and check, public ones (by their id) check."""

    keyring: Keyring | None = None
    signing: Any = None
    public: Mapping[str, Any] = field(default_factory=dict)

    def check_can_prove(self) -> None:
        """Raise ConfigurationError if a backup made here would not be usable here."""
        if self.public and not self.keyring and not self.signing:
            raise ConfigurationError(
                f"This host has only public keys ({VERIFY}), so a backup made here could not be "
                "told from a planted one. Nothing was changed. Make backups on a host that has "
                f"{KEYS} or {SIGNING}."
            )

    def prove(self, manifest: Manifest) -> Manifest:
        """Add the proofs that this host can make."""
        body = manifest.body()
        mac = signature = None
        if self.keyring:
            mac = Proof(self.keyring.current, self.keyring.mac(self.keyring.current, body))
        if self.signing:
            key_id = _id_of(self.signing.public_key())
            signature = Proof(key_id, self.signing.sign(CONTEXT + body).hex())
        return replace(manifest, mac=mac, signature=signature)

    def judge(self, manifest: Manifest, content: bytes) -> Verdict:
        """Say whether a manifest, loaded from `content`, is ours.

        Every proof that can be checked here must hold.
        """
        if not self.keyring and not self.public:
            return _without_keys(manifest)
        failures = list(self._checked(manifest, body_of(content, manifest)))
        if wrong := [failure for failure in failures if failure]:
            return Verdict(Trust.DISPROVED, " ".join(wrong))
        if failures:
            return Verdict(Trust.PROVEN)
        if manifest.mac or manifest.signature:
            return Verdict(Trust.KEY_MISSING, self._which_key(manifest))
        if manifest.encryption:
            return Verdict(
                Trust.DISPROVED,
                "It is encrypted, but has no proof of origin, which every encrypted backup gets: "
                "the proof was removed, or somebody without the key put the backup there.",
            )
        return Verdict(
            Trust.UNPROVEN,
            "It carries no proof of origin: it was made before a key was set, or somebody who "
            "does not have the key put it there.",
        )

    def _checked(self, manifest: Manifest, body: bytes) -> Iterator[str]:
        """Yield for each proof that these keys can check "", or what is wrong with it."""
        mac, signature = manifest.mac, manifest.signature
        if mac and self.keyring and mac.key in self.keyring.keys:
            expected = self.keyring.mac(mac.key, body)
            is_right = hmac.compare_digest(expected.encode(), mac.value.encode())
            yield "" if is_right else _wrong("MAC", mac.key)
        if signature and (key := self.public.get(signature.key)):
            yield "" if _is_signed(key, signature, body) else _wrong("signature", signature.key)

    def _which_key(self, manifest: Manifest) -> str:
        made_with = " and ".join(
            f"{word} '{proof.key}'"
            for word, proof in (("key", manifest.mac), ("signing key", manifest.signature))
            if proof
        )
        held = [*(self.keyring.keys if self.keyring else ()), *self.public]
        return (
            f"It was made with {made_with}, which this host does not have (it has: "
            f"{', '.join(held)}). Add the key to {KEYS}, or its public key to {VERIFY}; without "
            "the key an encrypted backup cannot be read by anybody."
        )


def host_keys() -> HostKeys:
    """Read the key files of the settings; raises ConfigurationError if one is invalid."""
    signing = _signing_key()
    public = _public_keys()
    if signing:
        public[_id_of(signing.public_key())] = signing.public_key()
    return HostKeys(keyring(), signing, public)


def _without_keys(manifest: Manifest) -> Verdict:
    """A host without any key uses what is not encrypted, whoever made it."""
    if manifest.encryption is None:
        return Verdict(Trust.NOT_ASKED)
    return Verdict(
        Trust.KEY_MISSING,
        f"It is encrypted with key '{manifest.encryption.key}', and {KEYS} is not set. Set it to "
        "the file that holds the key; without the key it cannot be read by anybody.",
    )


def _wrong(what: str, key_id: str) -> str:
    return (
        f"Its {what} is not the one of key '{key_id}': it was changed, or somebody without the key "
        "made it, or this host has another key under that id."
    )


def _is_signed(key: Any, signature: Proof, body: bytes) -> bool:
    try:
        key.verify(bytes.fromhex(signature.value), CONTEXT + body)
    except (ValueError, cryptography_library(VERIFY).InvalidSignature):
        return False
    return True


def _signing_key() -> Any:
    """The private key, None if there is none."""
    if (path := conf.backup_signing_key_file) is None:
        return None
    library, file = cryptography_library(SIGNING), KeyFile(SIGNING, path, _MAKE_SIGNING)
    try:
        key = library.load_pem_private_key(file.read_private().encode(), password=None)
    except (ValueError, TypeError, library.UnsupportedAlgorithm):
        raise file.invalid("is not a private key in PEM without a password") from None
    if not isinstance(key, library.Ed25519PrivateKey):
        raise file.invalid("is not an Ed25519 key")
    return key


def _public_keys() -> dict[str, Any]:
    """The public keys by their ids; several stand one after the other, which rotation needs."""
    if (path := conf.backup_verify_key_file) is None:
        return {}
    library, file = cryptography_library(VERIFY), KeyFile(VERIFY, path, _MAKE_VERIFY)
    blocks = _PEM.findall(file.read_public())
    if not blocks:
        raise file.invalid("holds no public key in PEM")
    try:
        keys = [library.load_pem_public_key(block.encode()) for block in blocks]
    except (ValueError, library.UnsupportedAlgorithm):
        raise file.invalid("holds a public key that cannot be read") from None
    if not all(isinstance(key, library.Ed25519PublicKey) for key in keys):
        raise file.invalid("holds a key that is not Ed25519")
    return {_id_of(key): key for key in keys}


def _id_of(public_key: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the raw public key."""
    return sha256(public_key.public_bytes_raw()).hexdigest()[:16]
