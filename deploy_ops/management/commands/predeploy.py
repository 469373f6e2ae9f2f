"""`manage.py predeploy`: the checklist before a release."""

from django.core.management.base import CommandParser

from deploy_ops.audit import Event, Kind, Outcome, record_event
from deploy_ops.conf import conf
from deploy_ops.errors import UsageError
from deploy_ops.files import private_directory
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.findings import show_checks
from deploy_ops.version import code_version


class Command(OpsCommand):
    """Parses the words, looks, prints the findings; keeps who has confirmed what."""

    help = "Say what speaks against a release of this code, now; exit 1 if there are errors."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--url", help="where users reach it, to look at its certificate")
        parser.add_argument(
            "--confirm",
            default="",
            metavar="WHAT,WHAT",
            help="what no program can see: tests, review, stakeholders",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Look, print, and remember the confirmations."""
        # Slow to load: it takes the models.
        from deploy_ops.release.predeploy import CONFIRMABLE, look_before

        confirmed = [word.strip() for word in options["confirm"].split(",") if word.strip()]
        if unknown := set(confirmed) - set(CONFIRMABLE):
            raise UsageError(
                f"--confirm knows {', '.join(CONFIRMABLE)}, not {', '.join(sorted(unknown))}. "
                "Nothing was kept."
            )
        if confirmed:
            message = f"confirmed: {', '.join(confirmed)}"
            event = Event(Kind.CHECK, Outcome.DONE, code_version(), message=message)
            record_event(private_directory(conf.state_dir), event)
        return show_checks(look_before(options["database"], options["url"], confirmed), self.tell)
