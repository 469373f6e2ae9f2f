"""Findings of old migrations that are known and stay: a file with one of them in each line."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from django.core import checks
from django.db import DEFAULT_DB_ALIAS

from deploy_ops.advice import manage
from deploy_ops.errors import UsageError
from deploy_ops.files import read_named
from deploy_ops.migrate.lint.finding import Finding, Place
from deploy_ops.migrate.lint.source import Source

HEADER = (
    "# Findings of old migrations that lint_migrations does not repeat; --write-baseline makes it."
)


def entry_of(finding: Finding) -> str:
    """The line of a finding: which migration, rule and table; no line numbers, which move."""
    return " ".join(filter(None, (finding.place.migration, finding.rule, finding.table)))


def read_baseline(path: Path) -> set[str]:
    """The entries of a file; raises UsageError if it cannot be read."""
    try:
        lines = read_named(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"The baseline {path} cannot be read: {why}. Nothing was done.") from None
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def write_baseline(path: Path, findings: Iterable[Finding]) -> int:
    """Write the entries of all findings; their number."""
    entries = sorted({entry_of(finding) for finding in findings})
    try:
        path.write_text("\n".join([HEADER, *entries, ""]), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The baseline {path} cannot be written: {error}.") from None
    return len(entries)


def without_known(
    findings: Sequence[Finding], known: set[str], path: Path, *, saw_all: bool
) -> list[Finding]:
    """Drop what the baseline has; what it has for nothing is reported where all was looked at."""
    new = [finding for finding in findings if entry_of(finding) not in known]
    stale = known - {entry_of(finding) for finding in findings}
    return new + list(_stale(sorted(stale), path) if saw_all else ())


def _stale(entries: Iterable[str], path: Path) -> Iterator[Finding]:
    for entry in entries:
        yield Finding(
            "L903",
            checks.WARNING,
            f"The baseline has {entry!r}, which is not found any more.",
            place=Place(entry.partition(" ")[0], source=Source(str(path))),
            cure=manage(
                *("lint_migrations", "--all", "--write-baseline", "--baseline", str(path)),
                alias=DEFAULT_DB_ALIAS,
            ).strip(),
        )
