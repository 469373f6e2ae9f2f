"""The history of releases: one line of JSON for each, in a file outside the database.

A restore rewinds every table, so the record of record is `DEPLOY_OPS_STATE_DIR/releases.jsonl`.
What the models of a release need of the schema lies beside it, once for all releases that need the
same: `schemas/<digest>.json`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploy_ops.conf import conf
from deploy_ops.files import (
    add_line,
    read_lines,
    read_object,
    read_private,
    write_atomically,
)
from deploy_ops.places import state_directory

RELEASES = "releases.jsonl"
SCHEMAS = "schemas"


@dataclass(frozen=True, slots=True)
class Release:
    """One successful run of safe_migrate; `at` is UTC in ISO 8601, `database` an `Identity.key`.

    `ends_with` is the last migration of each app that its code has, and `flags` what it declares;
    None where another version of deploy_ops has recorded it.
    """

    version: str
    at: str
    run: str
    database: str
    backup: str | None
    applied: list[tuple[str, str]]
    schema: str | None = None
    ends_with: list[tuple[str, str]] | None = None
    flags: list[str] | None = None


def record_release(release: Release, schema: Mapping[str, Any]) -> None:
    """Append the release, durable when this returns; `schema` is what its models need."""
    content = json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
    digest = _digest(content)
    path = state_directory(SCHEMAS) / f"{digest}.json"
    if not path.exists():
        write_atomically(path, content)
    add_line(state_directory() / RELEASES, asdict(replace(release, schema=digest)))


def released_versions(database: str | None = None) -> Sequence[str]:
    """Every version that was released from this host, in the order of its first release.

    Those released into one database (`Identity.key`), or into any.
    """
    released = (e for e in _entries() if database is None or e.get("database") == database)
    return list(dict.fromkeys(str(entry["version"]) for entry in released if "version" in entry))


def release_of_runs() -> Mapping[str, str]:
    """Which version each run that ended well has released, by the id of the run."""
    return {
        str(entry["run"]): str(entry["version"])
        for entry in _entries()
        if "run" in entry and "version" in entry
    }


def last_schema(
    database: str, may_run: Callable[[Release], bool] = lambda _: True
) -> tuple[str, dict[str, Any]] | None:
    """The version last released into a database (`Identity.key`), and what its models need of it.

    The last one that `may_run`. None where there is no release yet, or no such record of it that
    can be read.
    """
    for entry in reversed(_entries()):
        release = _release(entry) if entry.get("database") == database else None
        if entry.get("database") == database and (release is None or may_run(release)):
            schema = _read_schema(str(entry.get("schema")))
            return None if schema is None else (str(entry.get("version")), schema)
    return None


def version_before(
    database: str, version: str, may_run: Callable[[Release], bool] = lambda _: True
) -> str | None:
    """The version last released into a database (`Identity.key`) besides one, of those that
    `may_run`; None if none was."""
    for entry in reversed(_entries()):
        if entry.get("database") == database and entry.get("version") != version:
            release = _release(entry)
            if release is None or may_run(release):
                return str(entry.get("version"))
    return None


def schema_of(database: str, version: str) -> dict[str, Any] | None:
    """What a version needs of the schema, as it was last released into a database."""
    for entry in reversed(_entries()):
        if entry.get("database") == database and entry.get("version") == version:
            return _read_schema(str(entry.get("schema")))
    return None


def release_of(database: str, version: str) -> Release | None:
    """A version as it was last released into a database; None where it was not from this host."""
    for entry in reversed(_entries()):
        if entry.get("database") == database and entry.get("version") == version:
            return _release(entry)
    return None


def _release(entry: dict[str, Any]) -> Release | None:
    try:
        release = Release(**entry)
        if release.ends_with is None:
            return release
        return replace(
            release, ends_with=[(str(app), str(name)) for app, name in release.ends_with]
        )
    except (TypeError, ValueError):  # damaged, or of another version of deploy_ops
        return None


def last_run(database: str) -> str | None:
    """The run that released last into a database; None where there was none."""
    return next(
        (str(e["run"]) for e in reversed(_entries()) if e.get("database") == database), None
    )


def _entries() -> list[dict[str, Any]]:
    try:
        return read_lines(conf.state_dir / RELEASES).entries
    except FileNotFoundError:
        return []


def _read_schema(digest: str) -> dict[str, Any] | None:
    """None for what is not as it was written: with a part of it gone, a release would need less."""
    try:
        content = read_private(conf.state_dir / SCHEMAS / f"{digest}.json")
    except OSError:
        return None
    return read_object(content) if _digest(content) == digest else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
