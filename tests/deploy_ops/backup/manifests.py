"""Manifests as they could have been written, by us or by somebody else."""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

from deploy_ops.backup.authenticity import host_keys
from deploy_ops.backup.catalog import find_entry
from deploy_ops.backup.manifest import (
    FORMAT,
    Level,
    Manifest,
    SavedDatabase,
    Verified,
    dump_manifest,
)
from deploy_ops.ids import new_id

THEN = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)


def some_database(**changes) -> SavedDatabase:
    return replace(
        SavedDatabase("sqlite", "trips", "", "", "", 0, 3, 10_000, alias="default"), **changes
    )


def some_manifest(**changes) -> Manifest:
    fields = {
        "format": FORMAT,
        "id": new_id(THEN),
        "sequence": 1,
        "label": "",
        "run": None,
        "started_at": THEN,
        "finished_at": THEN,
        "database": some_database(),
        "versions": {},
        "code": "1.2.3",
        "migrations": (("trips", "0001_initial"),),
        "counts": {},
        "sequences": {},
        "write_position": {},
        "extra": {},
        "files": {},
        "media": None,
        "encryption": None,
        "seconds": {"dump": 0.5},
        "verified": Verified(Level.READ, THEN),
    }
    return Manifest(**fields | changes)


def manifest_of(identity, snapshot) -> Manifest:
    """What the engine reads back of a dump, gone through JSON as in a file."""
    plain = json.loads(json.dumps(asdict(snapshot)))
    plain["migrations"] = tuple(map(tuple, plain["migrations"]))
    return some_manifest(database=SavedDatabase(alias="default", **asdict(identity)), **plain)


def rewrite(backup, **changes):
    """Write the manifest anew with our keys, as if it had been so from the beginning."""
    manifest = host_keys().prove(replace(backup.manifest, **changes))
    (backup.directory / "manifest.json").write_bytes(dump_manifest(manifest))
    return find_entry(backup.id).backup


def with_checksum(fields: dict) -> bytes:
    """A manifest of any JSON, with the checksum that anybody can compute."""
    body = {name: value for name, value in fields.items() if name != "checksum"}
    return canonical({**body, "checksum": hashlib.sha256(canonical(body)).hexdigest()}) + b"\n"


def canonical(fields: dict) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def forged(content: bytes, **changes) -> bytes:
    """What somebody makes of a manifest who has no key."""
    return with_checksum(json.loads(content) | changes)
