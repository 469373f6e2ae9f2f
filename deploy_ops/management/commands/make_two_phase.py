"""`manage.py make_two_phase`: migrations that old code and new code both live with."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandParser

from deploy_ops.errors import UsageError
from deploy_ops.management.base import Json, OpsCommand


class Command(OpsCommand):
    """Parses the words, lets makemigrations detect, ask and write."""

    help = "Write migrations as makemigrations does, in the form that nobody waits for."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of make_two_phase."""
        parser.add_argument("apps", nargs="*", metavar="app", help="only these apps")
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be written, and write nothing"
        )
        parser.add_argument(
            "--check",
            action="store_true",
            dest="check_changes",
            help="exit 1 if migrations are missing; writes nothing",
        )
        parser.add_argument(
            "--fix",
            action="store_true",
            help="rewrite migrations on disk that no configured database has applied",
        )
        parser.add_argument("-n", "--name", help="name of the migrations, after their numbers")
        parser.add_argument(
            "--no-header",
            action="store_false",
            dest="include_header",
            help="no comment at the top of the files",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Run makemigrations with our autodetector, which leaves by SystemExit if not done."""
        # Imported here: they load what the models need.
        from deploy_ops.management.fixing import fix_migrations
        from deploy_ops.management.generating import TwoPhaseMigrations

        if options["fix"]:
            if options["name"] or not options["include_header"]:
                raise UsageError(
                    "--fix keeps names and headers as they are, so it takes neither --name nor "
                    "--no-header. Nothing was written."
                )
            return fix_migrations(options, self.tell, self.stderr)
        passed: Any = {
            name: options[name]
            for name in ("dry_run", "check_changes", "name", "include_header", "interactive")
        }
        command = TwoPhaseMigrations()
        code = 0
        try:
            call_command(command, *options["apps"], verbosity=options["verbosity"], **passed)
        except SystemExit as leaving:
            # Django says 3 where somebody does not answer; nothing was written then.
            code = 2 if leaving.code == 2 else 1
        status = "refused" if code else "ok"
        return code, {"status": status, "files": getattr(command, "written_files", [])}
