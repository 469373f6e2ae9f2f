"""`manage.py safe_migrate`: back up, migrate, verify, and recover from a failure."""

import re
from argparse import ArgumentTypeError
from dataclasses import fields, replace

from django.core.management.base import CommandParser

from deploy_ops.management.base import Json, OpsCommand, duration, whole_number
from deploy_ops.management.migrations import (
    add_resolved,
    add_safety,
    ask_about,
    may_end_sessions,
    show_result,
)
from deploy_ops.management.plans import show_plan
from deploy_ops.migrate.journal import find_run
from deploy_ops.migrate.ladder import OnFailure
from deploy_ops.migrate.procedure import safe_migrate
from deploy_ops.migrate.run import Phase, Request


def rule_id(text: str) -> str:
    """Read L001, or deploy_ops.L001."""
    rule = text.removeprefix("deploy_ops.")
    if not re.fullmatch(r"[LT]\d{3}", rule):
        raise ArgumentTypeError(f"{text!r} is not the id of a finding such as L001")
    return rule


class Command(OpsCommand):
    """Parses the words, calls safe_migrate, prints its Result."""

    help = "Back up, migrate, verify; and recover without losing data if a migration fails."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of safe_migrate."""
        parser.add_argument("app", nargs="?", help="only this app")
        parser.add_argument(
            "migration",
            nargs="?",
            help="migrate to this one, forwards or backwards; `zero` unapplies all of the app",
        )
        parser.add_argument(
            "--phase",
            type=Phase,
            choices=list(Phase),
            help="expand: apply the migrations, but keep what old code still needs; contract: run "
            "what expand put off; all: both. Default: expand with DEPLOY_OPS_TWO_PHASE, else all",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="run the contract phase although an older release may be at work; prints which",
        )
        parser.add_argument(
            "--plan", action="store_true", dest="only_plan", help="show the plan and change nothing"
        )
        add_safety(parser)
        parser.add_argument(
            "--rehearse",
            action="store_true",
            help="run the plan on a restored copy of the backup first: forwards, backwards, "
            "forwards; go on only if it succeeds and holds no lock that others need for long",
        )
        parser.add_argument(
            "--exclusive",
            action="store_true",
            help="planned downtime: end all other sessions, and let nobody connect during the run",
        )
        parser.add_argument(
            "--on-failure",
            type=OnFailure,
            choices=list(OnFailure),
            default="auto",
            help="recovery steps allowed after a failure: all (auto, the default), only reversing, "
            "only restoring the backup, or none of these (stop)",
        )
        parser.add_argument(
            "--accept-data-loss",
            action="store_true",
            help="let recovery lose data: restore the backup even if others wrote since it began "
            "(their writes are lost), and reverse contracts whose old values are gone",
        )
        parser.add_argument(
            "--allow",
            action="append",
            default=[],
            type=rule_id,
            metavar="ID",
            help="go on despite this error of lint_migrations, such as L001; may be repeated",
        )
        add_resolved(parser)
        parser.add_argument(
            "--single-transaction",
            action="store_true",
            help="run all migrations in one transaction",
        )
        parser.add_argument(
            "--lock-timeout",
            type=duration,
            default="100ms",
            help="lock_timeout per attempt (default 100ms)",
        )
        parser.add_argument(
            "--lock-retries",
            type=whole_number,
            default=100,
            metavar="N",
            help="retries of a migration after a lock timeout (default 100)",
        )
        parser.add_argument(
            "--wait",
            type=duration,
            default="60s",
            help="how long to wait for the deploy lock (default 60s)",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Show the plan, or run it."""
        known = {field.name for field in fields(Request)}
        if options["resolved"]:
            options["resolved"] = find_run(options["resolved"])
        request = Request(
            alias=options["database"], **{k: v for k, v in options.items() if k in known}
        )
        if not options["only_plan"] and options["interactive"]:
            request = replace(request, may_end_sessions=may_end_sessions(request))
        if options["only_plan"]:
            return 0, show_plan(request, self.tell)
        ask = ask_about(options["interactive"])
        result = safe_migrate(request, progress=self.progress, ask=ask)
        return result.exit_code, show_result(result, self)
