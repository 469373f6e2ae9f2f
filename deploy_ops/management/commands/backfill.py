"""`manage.py backfill`: fill columns of large tables while they are in use."""

from collections.abc import Mapping

from django.core.management.base import CommandParser

from deploy_ops.management.backfills import ACTIONS
from deploy_ops.management.base import ActionsCommand, whole_number


class Command(ActionsCommand):
    help = "List, run, pause, resume and cancel backfills."
    actions = ACTIONS

    def add_options(self, parsers: Mapping[str, CommandParser]) -> None:
        """Add the options of each action."""
        for name in ("pause", "resume", "cancel"):
            parsers[name].add_argument("name", metavar="NAME", help="name of a backfill")
        parsers["run"].add_argument(
            "name",
            metavar="NAME",
            nargs="?",
            help="name of a backfill; without one, each that is not finished",
        )
        parsers["run"].add_argument(
            "--enqueue",
            action="store_true",
            help="leave the work to the workers of the project's task framework",
        )
        parsers["run"].add_argument(
            "--rows-per-second",
            type=whole_number,
            help="write at most so many rows a second in this worker",
        )
