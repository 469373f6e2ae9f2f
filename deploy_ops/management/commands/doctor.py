"""`manage.py doctor`: whether everything around the application is set up."""

from django.core.management.base import CommandParser

from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.findings import add_strict, show_checks


class Command(OpsCommand):
    """Looks and prints the findings, each with its cure."""

    help = "Say what is missing around this application; exit 1 if there are errors."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        add_strict(parser)

    def operate(self, options: Json) -> tuple[int, Json]:
        """Look and print."""
        # Slow to load: it takes the models.
        from deploy_ops.release.doctor import examine

        return show_checks(examine(options["database"]), self.tell, strict=options["strict"])
