"""`manage.py lint_migrations`: say what is dangerous about migrations before they run."""

from pathlib import Path

from django.core.management.base import CommandParser

from deploy_ops.errors import UsageError
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.lint import show_findings, show_on_github
from deploy_ops.migrate.lint.ask import Question, lint
from deploy_ops.migrate.lint.baseline import read_baseline, without_known, write_baseline
from deploy_ops.migrate.lint.finding import Finding


class Command(OpsCommand):
    """Parses the words, calls lint, prints the findings."""

    formats = ("text", "json", "github")
    help = "Say which migrations make others wait or break the code that still runs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of lint_migrations."""
        parser.add_argument("apps", nargs="*", metavar="app", help="only these apps")
        parser.add_argument(
            "--all",
            action="store_true",
            dest="with_applied",
            help="also check applied migrations: each as if it ran on the present database",
        )
        parser.add_argument(
            "--two-phase",
            action="store_true",
            help="also check what breaks the code of the release before; always on with "
            "DEPLOY_OPS_TWO_PHASE",
        )

        parser.add_argument(
            "--baseline",
            type=Path,
            metavar="FILE",
            help="file of known findings of old migrations, which are not reported again",
        )
        parser.add_argument(
            "--write-baseline",
            action="store_true",
            help="write the findings into the file of --baseline",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Lint, and print."""
        question = Question(
            alias=options["database"],
            apps=tuple(options["apps"]),
            with_applied=options["with_applied"],
            two_phase=options["two_phase"],
        )
        findings, path = lint(question), options["baseline"]
        if options["write_baseline"]:
            return self._write_baseline(findings, path)
        if path:
            saw_all = question.with_applied and not question.apps
            findings = without_known(findings, read_baseline(path), path, saw_all=saw_all)
        if options["format"] == "github":
            return show_on_github(findings, self.stdout.write)
        return show_findings(findings, self.tell)

    def _write_baseline(self, findings: list[Finding], path: Path | None) -> tuple[int, Json]:
        if path is None:
            raise UsageError("--write-baseline wants --baseline FILE. Nothing was written.")
        count = write_baseline(path, findings)
        self.report(f"{path} has {count} findings that are known from now on.")
        return 0, {"status": "ok", "baseline": str(path), "entries": count}
