"""`manage.py flags`: feature flags."""

from collections.abc import Mapping

from django.core.management.base import CommandParser

from deploy_ops.management.base import ActionsCommand
from deploy_ops.management.flags import ACTIONS, attribute, moment, percentage


class Command(ActionsCommand):
    help = "List, show and change feature flags, and show who changed them."
    actions = ACTIONS

    def add_options(self, parsers: Mapping[str, CommandParser]) -> None:
        """Add the options of each action."""
        parsers["list"].add_argument(
            "--stale",
            action="store_true",
            help="list only flags to tidy up: overdue or no longer declared",
        )
        for name in ("show", "on", "off", "set", "clear", "undo", "who"):
            parsers[name].add_argument("name", metavar="NAME", help="name of a flag")
        parsers["history"].add_argument(
            "name", metavar="NAME", nargs="?", help="show only changes of this flag"
        )
        for name in ("on", "off", "set", "clear", "undo", "import"):
            parsers[name].add_argument(
                "--reason", default="", help="why it is changed, kept in the history"
            )
        parsers["show"].add_argument(
            "--user", help="also show what the flag is for this user, and why"
        )
        parsers["who"].add_argument(
            "users",
            metavar="USER",
            nargs="*",
            help="show whether these users have the flag, and why",
        )
        parsers["import"].add_argument(
            "file", metavar="FILE", help="what `flags export` has written; - reads standard input"
        )
        parsers["import"].add_argument(
            "--plan", action="store_true", help="show what would change, and change nothing"
        )
        _add_rules(parsers["set"])


def _add_rules(parser: CommandParser) -> None:
    add = parser.add_argument
    add(
        "--percent",
        type=percentage,
        help="on for this percentage of users, 0 to 100; the same people at every request",
    )
    add("--user", action="append", default=[], help="on for this user; may be repeated")
    add(
        "--group",
        action="append",
        default=[],
        help="on for the members of this group; may be repeated",
    )
    add(
        "--attribute",
        action="append",
        default=[],
        type=attribute,
        metavar="NAME=VALUE",
        help="on for users whose declared attribute has this value; may be repeated",
    )
    add("--staff", action="store_true", help="on for users who may enter the admin")
    add("--superusers", action="store_true", help="on for users who have all permissions")
    add("--from", dest="starts_at", type=moment, help="off for everybody before this date")
    add("--until", dest="ends_at", type=moment, help="off for everybody from this date on")
