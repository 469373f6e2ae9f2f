"""`manage.py backups`: the catalog."""

from collections.abc import Mapping

from django.core.management.base import CommandParser

from deploy_ops.backup.entry import Level
from deploy_ops.management.backups import ACTIONS
from deploy_ops.management.base import ActionsCommand, duration


class Command(ActionsCommand):
    help = "List, show, verify, pin and prune backups."
    actions = ACTIONS

    def add_options(self, parsers: Mapping[str, CommandParser]) -> None:
        """Add the options of each action."""
        for name in ("show", "verify", "pin", "unpin"):
            parsers[name].add_argument(
                "id", metavar="ID", help="of a backup, `latest`, or, to verify, `all`"
            )
        parsers["list"].add_argument("--max-age", type=duration, help="exit 1 if older, as 26h")
        verify = parsers["verify"].add_argument
        verify("--level", type=Level, choices=list(Level), default=Level.READ)
        prune = parsers["prune"].add_argument
        prune("--delete", action="store_true", help="delete; else only say what")
        prune("--kept-databases", action="store_true", help="and uploads that restores replaced")
        prune("--min-age", type=duration, default=duration("7d"), help="of these; 7d")
