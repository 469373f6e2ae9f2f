"""`manage.py lint_migrations`: say what is dangerous about migrations before they run."""

from django.core.management.base import CommandParser

from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.lint import show_findings
from deploy_ops.migrate.lint.ask import Question, lint


class Command(OpsCommand):
    """Parses the words, calls lint, prints the findings."""

    help = "Say which migrations make others wait or break the code that still runs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of lint_migrations."""
        parser.add_argument("apps", nargs="*", metavar="app", help="only these apps")
        parser.add_argument(
            "--all",
            action="store_true",
            dest="with_applied",
            help="also migrations that are applied: each as if it ran on the database of today",
        )
        parser.add_argument(
            "--two-phase",
            action="store_true",
            help="also what breaks the code of the release before; always so with "
            "DEPLOY_OPS_TWO_PHASE",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Lint, and print."""
        question = Question(
            alias=options["database"],
            apps=tuple(options["apps"]),
            with_applied=options["with_applied"],
            two_phase=options["two_phase"],
        )
        findings = lint(question)
        return show_findings(findings, self.tell)
