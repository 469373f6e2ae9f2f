"""`manage.py flags`: feature flags."""

import argparse
from typing import Any

from django.core.management.base import CommandParser

from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.flags import ACTIONS, moment, percentage, refuse_another_database


class Command(OpsCommand):
    help = "List, show and change feature flags, and show who changed them."

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
        made["list"].add_argument("--stale", action="store_true", help="only those to tidy up")
        for name in ("show", "on", "off", "set", "reset"):
            made[name].add_argument("name", metavar="NAME", help="name of a flag")
        made["history"].add_argument("name", metavar="NAME", nargs="?", help="only of this flag")
        for name in ("on", "off", "set", "reset"):
            made[name].add_argument("--reason", default="", help="why, for the history")
        made["show"].add_argument("--user", help="what it is for this person, and why")
        _add_rules(made["set"])
        return parser

    def operate(self, options: dict[str, Any]) -> tuple[int, Json]:
        """Call the action."""
        refuse_another_database(options["database"])
        return ACTIONS[options["action"]](self, options)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--percent", type=percentage, help="of all users, always the same; 0 to 100")
    add("--user", action="append", default=[], help="this person; may be repeated")
    add("--group", action="append", default=[], help="the members of this group; may be repeated")
    add("--staff", action="store_true", help="who may enter the admin")
    add("--superusers", action="store_true", help="who has all permissions")
    add("--from", dest="starts_at", type=moment, help="off before")
    add("--until", dest="ends_at", type=moment, help="off from then on")
