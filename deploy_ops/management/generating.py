"""makemigrations with another autodetector, and files that may be without a transaction."""

from pathlib import Path
from typing import Any

from django.core.management.commands import makemigrations
from django.core.management.utils import run_formatters
from django.db.migrations import Migration

from deploy_ops.phases.generate import TwoPhaseAutodetector, TwoPhaseWriter


class TwoPhaseMigrations(makemigrations.Command):
    """Django's own command; what it finds is written in two phases."""

    autodetector = TwoPhaseAutodetector
    written_files: list[str]

    def write_migration_files(
        self, changes: dict[str, list[Migration]], *_previous_paths: Any
    ) -> None:
        """Say what is written, and write it unless this is a dry run."""
        for app, migrations in changes.items():
            self._say(self.style.MIGRATE_HEADING(f"Migrations for '{app}':"))
            for migration in migrations:
                self._write(TwoPhaseWriter(migration, self.include_header))
        run_formatters(self.written_files, stderr=self.stderr)

    def _write(self, writer: TwoPhaseWriter) -> None:
        path = Path(writer.path)
        shown = self.get_relative_path(writer.path)
        self._say(f"  {self.style.MIGRATE_LABEL(shown)}")
        for operation in writer.migration.operations:
            self._say(f"    {operation.formatted_description()}")
        if self.scriptable:
            self.stdout.write(shown)
        if self.dry_run:
            if self.verbosity == 3:
                self._say(writer.as_string())
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(writer.as_string(), encoding="utf-8")
        self.written_files.append(str(path))

    def _say(self, text: str) -> None:
        if self.verbosity:
            self.log(text)
