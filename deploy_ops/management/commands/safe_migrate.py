"""`manage.py safe_migrate`: apply migrations so that a failure costs nothing."""

from dataclasses import fields

from django.core.management.base import CommandParser

from deploy_ops.management.base import Json, OpsCommand, duration, whole_number
from deploy_ops.management.migrations import ask_about, show_plan, show_result
from deploy_ops.migrate.ladder import OnFailure
from deploy_ops.migrate.procedure import safe_migrate
from deploy_ops.migrate.run import Request


class Command(OpsCommand):
    """Parses the words, calls safe_migrate, prints its Result."""

    help = "Back up, migrate, verify; and recover without losing data if a migration fails."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of safe_migrate."""
        parser.add_argument("app", nargs="?", help="only this app")
        parser.add_argument("migration", nargs="?", help="up or down to this one; 'zero' for none")
        parser.add_argument(
            "--plan", action="store_true", dest="only_plan", help="show, do nothing"
        )
        parser.add_argument(
            "--no-backup", action="store_false", dest="with_backup", help="then nothing is restored"
        )
        parser.add_argument("--on-failure", type=OnFailure, choices=list(OnFailure), default="auto")
        parser.add_argument(
            "--accept-data-loss", action="store_true", help="restore over others' writes"
        )
        parser.add_argument(
            "--resolved", metavar="RUN", help="you have looked at what this unresolved run left"
        )
        parser.add_argument(
            "--exclusive", action="store_true", help="planned downtime: end and refuse all sessions"
        )
        parser.add_argument("--single-transaction", action="store_true", help="all or nothing")
        parser.add_argument("--lock-timeout", type=duration, default="2s", help="per attempt; 2s")
        parser.add_argument(
            "--lock-retries", type=whole_number, default=10, metavar="N", help="of a step; 10"
        )
        parser.add_argument("--wait", type=duration, default="60s", help="for the deploy lock; 60s")

    def operate(self, options: Json) -> tuple[int, Json]:
        """Show the plan, or run it."""
        known = {field.name for field in fields(Request)}
        request = Request(
            alias=options["database"], **{k: v for k, v in options.items() if k in known}
        )
        if options["only_plan"]:
            return 0, show_plan(request, self.tell)
        ask = ask_about(options["interactive"])
        result = safe_migrate(request, progress=self.progress, ask=ask)
        return result.exit_code, show_result(result, self.tell, self.stderr.write)
