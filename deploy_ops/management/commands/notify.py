"""`manage.py notify`: e-mail about an event that deploy.sh has noted, which has no Django."""

from django.core.management.base import CommandParser

from deploy_ops.advice import manage
from deploy_ops.audit import Kind, read_events
from deploy_ops.conf import conf
from deploy_ops.errors import UsageError
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.trail import write_mail


class Command(OpsCommand):
    help = "Write to the addresses of DEPLOY_OPS_NOTIFY about an event of the audit; for deploy.sh."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what names the event."""
        parser.add_argument("kind", type=Kind, choices=list(Kind), help="kind of the event")
        parser.add_argument(
            "at", help="time of the event in the audit, such as 2026-11-26T08:00:00+00:00"
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Find it, the newest first, and write if it needs a person."""
        kind, at = options["kind"], options["at"]
        for event in reversed(read_events(conf.state_dir)):
            if (event.kind, event.at) == (kind, at):
                write_mail(event)
                return 0, {"status": "ok"}
        raise UsageError(
            f"The audit in {conf.state_dir} has no {kind} of {at}. Nobody was written to. What it "
            "has:\n" + manage("releases", "--format", "json", alias=options["database"])
        )
