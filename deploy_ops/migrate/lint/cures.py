"""Cures as code to paste: with the imports that they need, and where they have to stand."""

import re

PHASES = re.compile(r"\b(Contract|Backfill|Enforce[A-Z]\w+|[A-Z]\w+Online)\(")
ALONE = re.compile(r"\b(Enforce[A-Z]\w+|[A-Z]\w+Online)\(")


def to_paste(cure: str) -> str:
    """The cure with its import; online operations run without a transaction, one a migration."""
    names = sorted(set(PHASES.findall(cure)))
    if not names:
        return cure
    lines = [f"from deploy_ops.phases import {', '.join(names)}", cure]
    if ALONE.search(cure):
        lines.insert(1, "# in a migration of its own, with atomic = False:")
    return "\n".join(lines)
