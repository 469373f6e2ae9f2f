"""The history of releases: one line of JSON for each, in a file outside the database.

A restore rewinds every table, so the record of record is `DEPLOY_OPS_STATE_DIR/releases.jsonl`.
"""

from dataclasses import asdict, dataclass

from deploy_ops.conf import conf
from deploy_ops.files import add_line, private_directory


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
    add_line(private_directory(conf.state_dir) / "releases.jsonl", asdict(release))
