"""`manage.py health`: one line and an exit code, for Docker's HEALTHCHECK and for people."""

from typing import Any

from django.core.management.base import CommandParser

from deploy_ops.conf import conf
from deploy_ops.health.report import query_server, run_checks
from deploy_ops.management.arguments import server_url
from deploy_ops.management.base import Json, OpsCommand, duration


class Command(OpsCommand):
    """Parses the words, runs the checks or queries a server, prints the HealthReport."""

    help = "Say whether the application is ready; exit 0 if it is, 1 if not."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Ask all databases unless one is named."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.set_defaults(database=None)
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--url",
            type=server_url,
            help="ask this server instead of running the checks in this process",
        )
        parser.add_argument(
            "--timeout",
            type=duration,
            default="5s",
            help="time limit for the whole command (default 5s)",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Print one line, whatever was found."""
        url, patience = options["url"], options["timeout"]
        if url:
            report = query_server(url, patience)
        else:
            alias = options["database"]
            report = run_checks([alias] if alias else conf.readiness_databases, patience)
        if report.failing:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in report.failing.items())
            self.tell(f"Not healthy: {' '.join(reasons.split())}")
            return 1, {"status": "error", "failing": report.failing}
        notes = "".join(f"; {name}: {note}" for name, note in report.notes.items())
        unknown = "".join(f"; not known: {name}: {why}" for name, why in report.unknown.items())
        self.tell(f"Healthy: {', '.join(report.passed)}{notes}{unknown}")
        return 0, {
            "status": "ok",
            "passed": report.passed,
            "notes": report.notes,
            "unknown": report.unknown,
        }
