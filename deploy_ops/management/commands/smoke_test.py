"""`manage.py smoke_test --url URL`: uses an instance as people do, with the time of each step."""

from dataclasses import asdict

from django.core.management.base import CommandParser

from deploy_ops.management.arguments import server_url
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.release.smoke import run_smoke_tests


class Command(OpsCommand):
    """Parses the words, runs the steps, prints each."""

    help = "Use an instance over HTTP as people do; exit 1 if a step fails."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the option."""
        parser.add_argument(
            "--url",
            type=server_url,
            required=True,
            help="https://HOST, or http+unix://QUOTED-PATH of a socket",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Print a line for each step as it ends."""
        steps = []
        for step in run_smoke_tests(options["url"]):
            steps.append(step)
            failed = f"FAILED: {step.error}" if step.error else "ok"
            self.tell(f"{step.name:32} {step.seconds:6.2f} s  {failed}")
        failed_steps = [step for step in steps if step.error]
        if failed_steps:
            self.tell(f"{len(failed_steps)} of {len(steps)} steps failed at {options['url']}.")
        status = "failed" if failed_steps else "ok"
        return int(bool(failed_steps)), {"status": status, "steps": [*map(asdict, steps)]}
