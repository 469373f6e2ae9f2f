"""`manage.py rollback --to VERSION`: says what the way back takes, and brings the schema back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.management.base import CommandParser

from deploy_ops.errors import ReleaseRefused
from deploy_ops.management.base import Json, OpsCommand, duration
from deploy_ops.management.confirmation import Confirmation
from deploy_ops.management.findings import show_checks
from deploy_ops.management.migrations import add_resolved, ask_about, show_result
from deploy_ops.migrate.journal import find_run

if TYPE_CHECKING:
    from deploy_ops.release.go_back import GoingBack
    from deploy_ops.release.rollback import WayBack


class Command(OpsCommand):
    """Parses the words, asks, carries out what was decided, prints."""

    help = "Decide by facts what the way back to an older release takes, and bring the schema back."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--to", required=True, metavar="VERSION", help="older release, such as v1.2.2"
        )
        parser.add_argument(
            "--wait",
            type=duration,
            default="60s",
            help="how long to wait for another deployment step (default 60s)",
        )
        add_resolved(parser)
        parser.add_argument(
            "--plan",
            action="store_true",
            dest="only_plan",
            help="show what it takes and change nothing; exit 1 unless only the code has to change",
        )
        parser.add_argument(
            "--restore",
            metavar="ID",
            help="restore this backup, where nothing less brings the schema back; latest: the "
            "newest one on whose schema the older release works",
        )
        parser.add_argument(
            "--confirm",
            metavar="NAME",
            help="name of the live database: with --restore and --noinput it confirms the restore",
        )

    def operate(self, options: Json) -> tuple[int, Json]:
        """Say the decision; then do what it takes, unless only the plan was asked for."""
        # Slow to load: it takes the models.
        from deploy_ops.management.rollbacks import RESTORE
        from deploy_ops.release.go_back import GoingBack
        from deploy_ops.release.rollback import find_way_back

        alias, version = options["database"], options["to"].removeprefix("v")
        if options["only_plan"]:
            way = find_way_back(alias, version)
            found = self._say(way)
            self._next(way)
            return found
        words = ["rollback", "--to", f"v{version}", "--restore", options["restore"] or ""]
        confirmation = Confirmation(
            self.tell, {**options, **RESTORE, "id": options["restore"]}, words
        )
        if options["restore"]:
            confirmation.check_options()
        wait: timedelta = options["wait"]
        ask = ask_about(options["interactive"])
        resolved = find_run(options["resolved"]) if options["resolved"] else None
        going = GoingBack(alias, version, wait, progress=self.progress, ask=ask, resolved=resolved)
        found = self._say(going.way)
        if found[1]["status"] == "errors":
            raise ReleaseRefused(f"{version} cannot take over. Nothing was changed.")
        return self._do(going, confirmation, options, found)

    def _say(self, way: WayBack) -> tuple[int, Json]:
        """Print the decision, and what speaks against it."""
        from deploy_ops.management.rollbacks import as_json, describe, loss_of, next_commands
        from deploy_ops.release.checklist import look_back
        from deploy_ops.release.rollback import Decision

        loss = loss_of(way)
        self.tell("\n".join(describe(way, loss)))
        code, found = show_checks(look_back(way), self.tell)
        is_ready = code == 0 and way.decision is Decision.CODE_ONLY
        return int(not is_ready), {**found, **as_json(way, loss, next_commands(way))}

    def _next(self, way: WayBack) -> None:
        from deploy_ops.management.rollbacks import next_commands

        self.tell("\n".join(["Next:", *next_commands(way)]))

    def _do(
        self, going: GoingBack, confirmation: Confirmation, options: Json, said: tuple[int, Json]
    ) -> tuple[int, Json]:
        from deploy_ops.management.rollbacks import after_failure, restore_it
        from deploy_ops.release.rollback import Decision, find_way_back

        way, text = going.way, options["restore"]
        if text and way.decision is Decision.CODE_ONLY:
            raise ReleaseRefused(
                f"Nothing has to be restored for {way.version}, and a restore would lose what was "
                "written since. Nothing was changed. Leave --restore out."
            )
        if way.decision is Decision.REVERSE and not text:
            result = going.undo()
            shown = show_result(result, self)
            if result.exit_code == 0:
                self._next(find_way_back(way.alias, way.version))
            elif result.status == "recovered":
                self.stderr.write(after_failure(way))
            return result.exit_code, {**said[1], **shown}
        if text:
            for line in restore_it(way, text, confirmation, self.progress, options):
                self.tell(line)
            self._next(find_way_back(way.alias, way.version))
            return 0, {**said[1], "status": "ok"}
        self._next(way)
        return said
