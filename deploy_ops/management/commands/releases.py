"""`manage.py releases`: what was done to this application, by whom, and how it ended."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from deploy_ops.conf import conf
from deploy_ops.management.base import Json, OpsCommand, whole_number
from deploy_ops.management.tables import table
from deploy_ops.release.timeline import Entry, read_timeline

HEADINGS = ("TIME", "WHAT", "VERSION", "BEFORE", "OUTCOME", "TOOK", "BY", "WHY")
LONGEST_WHY = 60


class Command(OpsCommand):
    help = "List deployments, rollbacks, migrations, contracts, restores, changes of flags."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--limit", type=whole_number, default=20, help="how many, the newest (default 20)"
        )

    def operate(self, options: dict[str, Any]) -> tuple[int, Json]:
        """Print them, the newest first."""
        entries = read_timeline(options["limit"])
        if entries:
            is_terminal = sys.stdout.isatty() and not self.as_json
            self.tell(table(HEADINGS, map(_row, entries), is_terminal=is_terminal))
        else:
            self.tell(f"Nothing was done yet that {conf.state_dir} knows of.")
        return 0, {"status": "ok", "releases": [asdict(each) for each in entries]}


def _row(entry: Entry) -> Sequence[str]:
    what = entry.kind
    if entry.steps:
        what += f" of {entry.steps} step{'s' if entry.steps > 1 else ''}"
    return (
        f"{timezone.localtime(entry.at):%Y-%m-%d %H:%M:%S}",
        f"{what} {entry.subject}".strip(),
        entry.version,
        entry.before,
        entry.outcome,
        "" if entry.seconds is None else f"{entry.seconds:.1f} s",
        entry.by,
        _first_line(entry.message),
    )


def _first_line(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= LONGEST_WHY else f"{line[: LONGEST_WHY - 1]}…"
