"""`manage.py rollback --to VERSION`: says what the way back to an older release takes."""

from django.core.management.base import CommandParser

from deploy_ops.management.base import Json, OpsCommand


class Command(OpsCommand):
    """Parses the words, asks, prints."""

    help = "Say whether an older release works on the schema as it is, and what to do; exit 0 or 1."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the option."""
        parser.add_argument("--to", required=True, metavar="VERSION", help="such as v1.2.2")

    def operate(self, options: Json) -> tuple[int, Json]:
        """Print the decision; nothing is changed."""
        # Slow to load: it takes the models.
        from deploy_ops.release.rollback import Decision, describe, find_way_back

        alias = options["database"]
        way = find_way_back(alias, options["to"].removeprefix("v"))
        self.tell(describe(way, alias))
        return int(way.decision is not Decision.CODE_ONLY), {
            "status": "ok",
            "decision": way.decision,
            "why": [{"id": str(each.id), "message": each.msg} for each in way.why],
            "targets": [list(target) for target in way.targets],
            "backup": way.backup,
        }
