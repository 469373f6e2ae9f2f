"""The history of releases: one line of JSON for each, in a file outside the database.

A restore rewinds every table, so the record of record is `DEPLOY_OPS_DIR/releases.jsonl`.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy_ops.conf import conf
from deploy_ops.files import open_private, private_directory


@dataclass(frozen=True, slots=True)
class Release:
    """One successful run of safe_migrate; `at` is UTC in ISO 8601."""

    version: str
    at: str
    run: str
    database: str
    backup: str | None
    applied: list[tuple[str, str]]


def record_release(release: Release) -> None:
    """Append the release, durable when this returns."""
    private_directory(conf.dir)
    descriptor = open_private(_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, json.dumps(asdict(release)).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _path() -> Path:
    return conf.dir / "releases.jsonl"
