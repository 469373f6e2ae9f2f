"""makemigrations with another autodetector, and files that may be without a transaction."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector

from deploy_ops.advice import manage
from deploy_ops.errors import DeployOpsError
from deploy_ops.management.other_makemigrations import other_makemigrations
from deploy_ops.phases.generate import TwoPhaseAutodetector, TwoPhaseWriter, write_whole

OtherCommand: Any = other_makemigrations()


class TwoPhaseMigrations(OtherCommand):  # type: ignore[misc]  # known only when it runs
    """The command that the project would have; what it finds is written in two phases."""

    autodetector: type[MigrationAutodetector]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.written_files: list[str] = []  # as Django's own has it once it runs

    def handle(self, *app_labels: str, **options: Any) -> None:
        """Run it; --update puts what it finds into one file, in which not all of it may stand."""
        if not options["update"]:
            # Of the class, Django's check commands.E001 wants the same one as migrate has.
            self.autodetector = TwoPhaseAutodetector
        super().handle(*app_labels, **options)

    def write_migration_files(
        self, changes: dict[str, list[Migration]], previous_paths: Any = None
    ) -> None:
        """Say what is written, and write it unless this is a dry run."""
        if previous_paths is not None:
            super().write_migration_files(changes, previous_paths)
            return
        texts = {}
        for app, migrations in changes.items():
            self._say(self.style.MIGRATE_HEADING(f"Migrations for '{app}':"))
            for migration in migrations:
                writer = TwoPhaseWriter(migration, self.include_header)
                self._announce(writer)
                if not self.dry_run:
                    texts[Path(writer.path)] = writer.as_string()
                elif self.verbosity == 3:
                    self._say(writer.as_string())
        for path in texts:
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
        write_whole(texts, self.stderr)
        self.written_files += [str(path) for path in texts]

    def _announce(self, writer: TwoPhaseWriter) -> None:
        shown = self.get_relative_path(writer.path)
        self._say(f"  {self.style.MIGRATE_LABEL(shown)}")
        for operation in writer.migration.operations:
            self._say(f"    {operation.formatted_description()}")
        if self.scriptable:
            self.stdout.write(shown)

    def _say(self, text: str) -> None:
        if self.verbosity:
            self.log(text)


class ReportingMigrations(TwoPhaseMigrations):
    """What makemigrations is with DEPLOY_OPS_MAKEMIGRATIONS."""

    def handle(self, *app_labels: str, **options: Any) -> None:
        """Run it; a refusal is said as Django's commands say theirs."""
        try:
            super().handle(*app_labels, **options)
        except DeployOpsError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        if options["update"] and self.written_files:
            self._say(
                "These are in Django's own form. For the form in which nobody waits:\n"
                + manage("make_two_phase", "--fix", *app_labels, alias="default")
            )
