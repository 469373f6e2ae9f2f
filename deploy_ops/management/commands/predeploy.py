"""`manage.py predeploy`: the checklist before a release."""

from pathlib import Path

from django.core.management.base import CommandParser

from deploy_ops.audit import Event, Kind, Outcome, record_event
from deploy_ops.errors import UsageError
from deploy_ops.management.arguments import server_url
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.findings import add_strict, show_checks
from deploy_ops.places import state_directory
from deploy_ops.trail import tell_receivers
from deploy_ops.version import code_version


class Command(OpsCommand):
    """Parses the words, looks, prints the findings; keeps who has confirmed what."""

    help = "Say what speaks against a release of this code, now; exit 1 if there are errors."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--url", type=server_url, help="address that users open; its certificate is checked"
        )
        parser.add_argument(
            "--metrics",
            type=server_url,
            metavar="URL",
            help="/metrics of the release that serves now",
        )
        parser.add_argument(
            "--ci-status",
            type=Path,
            metavar="FILE",
            help="JSON file with the CI results of this commit",
        )
        parser.add_argument(
            "--confirm",
            default="",
            metavar="WHAT,WHAT",
            help="confirm what no program can check: tests, review, stakeholders",
        )
        add_strict(parser)

    def operate(self, options: Json) -> tuple[int, Json]:
        """Look, print, and remember the confirmations."""
        # Slow to load: it takes the models.
        from deploy_ops.release.predeploy import CONFIRMABLE, Asked, look_before

        words = dict.fromkeys(word.strip() for word in options["confirm"].split(","))
        confirmed = [word for word in words if word]
        if unknown := set(confirmed) - set(CONFIRMABLE):
            raise UsageError(
                f"--confirm knows {', '.join(CONFIRMABLE)}, not {', '.join(sorted(unknown))}. "
                "Nothing was kept."
            )
        if confirmed:
            message = f"confirmed: {', '.join(confirmed)}"
            event = Event(Kind.CHECK, Outcome.DONE, code_version(), message=message)
            # Not by `note`: a confirmation that cannot be kept is none.
            record_event(state_directory(), event)
            tell_receivers(event)
        asked = Asked(
            alias=options["database"],
            url=options["url"],
            metrics=options["metrics"],
            confirmed=confirmed,
            ci_status=options["ci_status"],
        )
        return show_checks(look_before(asked), self.tell, strict=options["strict"])
