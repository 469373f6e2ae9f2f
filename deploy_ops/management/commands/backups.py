"""`manage.py backups`: the catalog."""

import argparse
from typing import Any

from django.core.management.base import CommandParser

from deploy_ops.backup.entry import Level
from deploy_ops.management.backups import ACTIONS
from deploy_ops.management.base import Json, OpsCommand, duration


class Command(OpsCommand):
    help = "List, show, verify, pin and prune backups."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Give each action its options and the common ones, so that these may stand anywhere."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        common = super().create_parser(prog_name, subcommand, add_help=False)
        for option in common._actions:  # pylint: disable=protected-access
            option.default = argparse.SUPPRESS  # or it would undo what stood before the action
        actions = parser.add_subparsers(dest="action", required=True)
        made = {
            name: actions.add_parser(name, help=action.__doc__, parents=[common])
            for name, action in ACTIONS.items()
        }
        for name in ("show", "verify", "pin", "unpin"):
            made[name].add_argument(
                "id", metavar="ID", help="of a backup, `latest`, or, to verify, `all`"
            )
        made["list"].add_argument("--max-age", type=duration, help="exit 1 if older, such as 26h")
        made["verify"].add_argument("--level", type=Level, choices=list(Level), default=Level.READ)
        prune = made["prune"]
        prune.add_argument("--delete", action="store_true", help="delete; else only say what")
        prune.add_argument(
            "--kept-databases", action="store_true", help="and uploads that restores replaced"
        )
        prune.add_argument("--min-age", type=duration, default=duration("7d"), help="of these; 7d")
        return parser

    def operate(self, options: dict[str, Any]) -> tuple[int, Json]:
        """Call the action."""
        return ACTIONS[options["action"]](self, options)
