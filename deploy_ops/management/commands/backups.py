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
        for name in ("show", "verify"):
            parsers[name].add_argument(
                "id",
                metavar="ID",
                nargs="?",
                default="latest",
                help="id of a backup or its time, or `latest` (default); `verify` also takes `all`",
            )
        for name in ("pin", "unpin"):
            parsers[name].add_argument(
                "id", metavar="ID", help="id of a backup or its time, or `latest`"
            )
        parsers["list"].add_argument(
            "--max-age",
            type=duration,
            help="exit with 1 if no verified backup is younger than this, such as 26h",
        )
        verify = parsers["verify"].add_argument
        verify(
            "--level",
            type=Level,
            choices=list(Level),
            default=Level.READ,
            help="what to prove: that the files are there (manifest) and unchanged (hash), that "
            "they can be read (read, the default), that they can be restored (restore)",
        )
        prune = parsers["prune"].add_argument
        prune(
            "--delete",
            action="store_true",
            help="delete; without it, only list what would be deleted",
        )
        prune(
            "--previous-databases",
            action="store_true",
            help="instead of backups: databases and uploads that restores have replaced",
        )
        prune(
            "--min-age",
            type=duration,
            default=duration("7d"),
            help="with --previous-databases: only those replaced longer ago than this (default 7d)",
        )
