"""Findings that a comment beside the operation allows, and comments that allow nothing."""

from collections.abc import Iterator, Sequence

from django.core import checks

from deploy_ops.migrate.lint.finding import Finding, Place
from deploy_ops.migrate.lint.source import Allowance, Source

REASON = "# lint: allow {rule}: why nobody waits, or why that is accepted"


def suppress(findings: Sequence[Finding], source: Source, migration: str) -> list[Finding]:
    """Drop what is allowed with a reason; report what allows nothing, or says no reason."""
    good = [each for each in source.allowances if each.reason]
    kept = [each for each in findings if not any(_allows(one, each) for one in good)]
    used = {one for one in source.allowances if any(_allows(one, each) for each in findings)}
    return kept + list(_complaints(source, used, migration))


def _allows(allowance: Allowance, finding: Finding) -> bool:
    if finding.rule != allowance.rule:
        return False
    # What is about the migration as a whole is allowed beside any of its operations.
    return finding.place.index in (allowance.index, -1)


def _complaints(source: Source, used: set[Allowance], migration: str) -> Iterator[Finding]:
    for each in source.allowances:
        place = Place(migration, each.index or 0, source, comment=each.line)
        if not each.reason:
            yield Finding(
                "L902",
                checks.ERROR,
                f"The comment allows {each.rule} without a reason, so it allows nothing.",
                place=place,
                cure=REASON.format(rule=each.rule),
            )
        elif each not in used:
            yield Finding(
                "L901",
                checks.WARNING,
                f"The comment allows {each.rule}, which is not found beside it.",
                place=place,
                cure="Remove the comment, or put it on the line above the operation.",
            )
