"""The history of releases: one line of JSON for each, in a file outside the database.

A restore rewinds every table, so the record of record is `DEPLOY_OPS_STATE_DIR/releases.jsonl`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from deploy_ops.conf import conf
from deploy_ops.files import add_line, private_directory, read_lines


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


def released_versions() -> Sequence[str]:
    """Every version that was released from this host, in the order of its first release."""
    try:
        entries = read_lines(conf.state_dir / "releases.jsonl").entries
    except FileNotFoundError:
        return ()
    return list(dict.fromkeys(str(entry["version"]) for entry in entries if "version" in entry))
