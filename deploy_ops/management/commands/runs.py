"""`manage.py runs`: the runs of safe_migrate and rollback, and how each of them ended."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.management.base import Json, OpsCommand, line_count
from deploy_ops.management.run_list import HEADINGS, rows
from deploy_ops.release.runs import Run, State, all_runs
from deploy_ops.restore.interrupted import unfinished_restores


class Command(OpsCommand):
    help = "List the runs of safe_migrate and rollback, and how each of them ended."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--limit",
            type=line_count,
            default=20,
            help="show so many runs, the newest first (default 20)",
        )

    def operate(self, options: dict[str, Any]) -> tuple[int, Json]:
        """Print them, the newest first."""
        runs = all_runs()
        shown = runs[::-1][: options["limit"]]
        if shown:
            self.tell_table(HEADINGS, rows(shown, [run.id for run in runs], datetime.now(UTC)))
        else:
            self.tell(f"No runs are recorded in {conf.state_dir}.")
        for line in _next_commands(runs, options["database"]):
            self.tell(line)
        return 0, {"status": "ok", "runs": [asdict(each) for each in shown]}


def _next_commands(runs: Sequence[Run], alias: str) -> Iterator[str]:
    """What goes on with that which was cut off."""
    last = {run.alias: run.command for run in runs if run.state is State.UNRESOLVED}
    for each, command in sorted(last.items()):
        yield (
            "This looks at what the runs that did not end have left, and finishes or undoes it:\n"
            + manage(*(command or ["safe_migrate"]), alias=each)
        )
    for restoring in unfinished_restores():
        yield (
            f"A restore of backup {restoring.backup} is at work, or was cut off. If it was, this "
            f"repairs it:\n{manage('restore', alias=alias)}"
        )
