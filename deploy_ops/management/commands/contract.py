"""`manage.py contract`: what waits until the old release is gone."""

from collections.abc import Mapping

from django.core.management.base import CommandParser

from deploy_ops.management.base import ActionsCommand
from deploy_ops.management.contracts import ACTIONS
from deploy_ops.management.migrations import add_safety


class Command(ActionsCommand):
    help = "List, run and skip what waits for the contract phase."
    actions = ACTIONS

    def add_options(self, parsers: Mapping[str, CommandParser]) -> None:
        """Add the options of each action."""
        parsers["list"].add_argument(
            "--all",
            action="store_true",
            dest="with_done",
            help="also list what has run, and whether reversing it brings the values back",
        )
        add_safety(parsers["run"])
        parsers["run"].add_argument(
            "--force", action="store_true", help="run although an older release may be at work"
        )
        for name in ("skip", "unskip"):
            parsers[name].add_argument(
                "operation", metavar="OPERATION", help="operation as `contract list` names it"
            )
        parsers["skip"].add_argument("--reason", required=True, help="why, for whoever comes next")
