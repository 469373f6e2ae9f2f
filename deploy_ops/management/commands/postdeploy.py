"""`manage.py postdeploy --url URL`: what should hold after a release, which is then remembered."""

from django.core.management.base import CommandParser

from deploy_ops.management.arguments import server_url
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.findings import add_strict, show_checks


class Command(OpsCommand):
    """Parses the words, looks, prints the findings, notes the release."""

    help = "Say what is not as it should be after a release; exit 1 if there are errors."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--url", type=server_url, required=True, help="address that users open")
        parser.add_argument(
            "--metrics", type=server_url, metavar="URL", help="/metrics of the new release"
        )
        add_strict(parser)

    def operate(self, options: Json) -> tuple[int, Json]:
        """Look, print, and add the release to the history."""
        # Slow to load: it takes the models.
        from deploy_ops.release.postdeploy import look_after, note_release

        findings = look_after(options["database"], options["url"], options["metrics"])
        code, result = show_checks(findings, self.tell, strict=options["strict"])
        if not code:
            note_release(options["database"])
        return code, result
