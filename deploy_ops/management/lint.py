"""Findings of lint_migrations as people, programs and GitHub read them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from django.core import checks

from deploy_ops.management.base import Json
from deploy_ops.migrate.lint.finding import NAMES, Finding

Write = Callable[[str], object]
# In a checkout a link to docs/reference/findings.md, in a wheel a copy of it.
PAGE = Path(__file__).parents[1] / "docs" / "findings.md"
GITHUB = {checks.INFO: "notice", checks.WARNING: "warning", checks.ERROR: "error"}


def show_findings(findings: Sequence[Finding], write: Write) -> tuple[int, Json]:
    """Print findings for people, and return them for programs with the exit code."""
    for finding in findings:
        write(text_of(finding))
    code, result = _result(findings)
    write(result["message"])
    return code, result


def show_on_github(findings: Sequence[Finding], write: Write) -> tuple[int, Json]:
    """Print findings as annotations of a workflow run."""
    for finding in findings:
        write(github_line(finding))
    return _result(findings)


def _result(findings: Sequence[Finding]) -> tuple[int, Json]:
    counts = {name: 0 for name in NAMES.values()}
    for finding in findings:
        counts[NAMES[finding.level]] += 1
    code = 1 if counts["error"] else 0
    result = {
        "status": "errors" if code else "ok",
        "message": _summary(counts),
        **counts,
        "findings": [finding.as_json() for finding in findings],
    }
    return code, result


def shown_page() -> str:
    """The page of findings, from where the command runs if it is below that."""
    page, here = PAGE.resolve(), Path.cwd()
    return str(page.relative_to(here) if page.is_relative_to(here) else page)


def text_of(finding: Finding) -> str:
    """What, why, and the cure to paste."""
    rule = finding.rule
    cure = "\n".join(f"    {line}" for line in (finding.hint or "").splitlines())
    return "\n".join(
        filter(
            None,
            [
                f"{finding.place}",
                f"{NAMES[finding.level]}: {finding.msg}",
                cure,
                f"[{finding.id}]  {shown_page()}#{rule.lower()}\n",
            ],
        )
    )


def _summary(counts: dict[str, int]) -> str:
    if not any(counts.values()):
        return "Nothing dangerous was found. Nothing was changed."
    spoken = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    return f"Found {spoken}. Nothing was changed."


def github_line(finding: Finding) -> str:
    """A workflow command of GitHub: an annotation at the operation's line."""
    place = finding.place
    where = f"file={_property(place.path)},line={place.line or 1}," if place.path else ""
    text = "\n".join(filter(None, (finding.msg, finding.hint)))
    return f"::{GITHUB[finding.level]} {where}title={finding.id}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
