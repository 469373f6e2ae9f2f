"""`manage.py archive`: base backups and write-ahead log, from which any moment can be restored."""

from collections.abc import Mapping

from django.core.management.base import CommandParser

from deploy_ops.management.archives import ACTIONS
from deploy_ops.management.base import ActionsCommand, line_count


class Command(ActionsCommand):
    help = "Keep base backups and the write-ahead log, so that any moment can be restored."
    actions = ACTIONS

    def add_options(self, parsers: Mapping[str, CommandParser]) -> None:
        """Add the options of each action."""
        parsers["base"].add_argument(
            "--incremental",
            action="store_true",
            help="only what changed since the last one (PostgreSQL 17 with summarize_wal)",
        )
        parsers["point"].add_argument("name", metavar="NAME", help="what it is called")
        parsers["prune"].add_argument(
            "--keep", type=line_count, default=2, help="how many base backups stay (default 2)"
        )
        parsers["prune"].add_argument(
            "--delete", action="store_true", help="remove; without it, only list"
        )
