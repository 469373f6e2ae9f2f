"""`manage.py releases`: what was done to this application, by whom, and how it ended."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from deploy_ops.conf import conf
from deploy_ops.management.base import Json, OpsCommand, line_count, spoken_age
from deploy_ops.management.tables import local_time
from deploy_ops.release.timeline import Entry, read_timeline

HEADINGS = ("TIME", "AGE", "WHAT", "VERSION", "BEFORE", "OUTCOME", "TOOK", "BY", "WHY")
LONGEST_WHY = 60


class Command(OpsCommand):
    help = (
        "List what was done: deployments, canaries, rollbacks, migrations, contract phases, "
        "restores, changes of flags and confirmations of predeploy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--limit",
            type=line_count,
            default=20,
            help="show so many, the newest first (default 20)",
        )

    def operate(self, options: dict[str, Any]) -> tuple[int, Json]:
        """Print them, the newest first."""
        entries = read_timeline(options["limit"])
        if entries:
            now = datetime.now(UTC)
            self.tell_table(HEADINGS, (_row(each, now) for each in entries))
        else:
            self.tell(f"Nothing is recorded in {conf.state_dir} yet.")
        return 0, {"status": "ok", "releases": [asdict(each) for each in entries]}


def _row(entry: Entry, now: datetime) -> Sequence[str]:
    what = entry.kind
    if entry.steps:
        what += f" of {entry.steps} step{'s' if entry.steps > 1 else ''}"
    return (
        local_time(entry.at, "%Y-%m-%d %H:%M:%S"),
        spoken_age(now - entry.at),
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
