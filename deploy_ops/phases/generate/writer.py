"""The file of a migration, as Django writes it, and whether it runs in a transaction."""

from django.db.migrations.writer import MigrationWriter

DEPENDENCIES = "    dependencies = ["


class TwoPhaseWriter(MigrationWriter):
    """Django's own, which leaves `atomic` out."""

    def as_string(self) -> str:
        """The text of the file."""
        text: str = super().as_string()
        if self.migration.atomic:
            return text
        return text.replace(DEPENDENCIES, f"    atomic = False\n\n{DEPENDENCIES}", 1)
