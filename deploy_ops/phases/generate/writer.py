"""The file of a migration, as Django writes it, and whether it runs in a transaction; whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.utils import run_formatters
from django.db.migrations.writer import MigrationWriter

from deploy_ops.files import sync_directory

DEPENDENCIES = "    dependencies = ["


class TwoPhaseWriter(MigrationWriter):
    """Django's own, which leaves `atomic` out."""

    def as_string(self) -> str:
        """The text of the file."""
        text: str = super().as_string()
        if self.migration.atomic:
            return text
        return text.replace(DEPENDENCIES, f"    atomic = False\n\n{DEPENDENCIES}", 1)


def write_whole(texts: Mapping[Path, str], stderr: Any) -> None:
    """Put each text under its name, formatted, whole or not at all, in their order."""
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.partial") for path in texts}
    try:
        for path, text in texts.items():
            partials[path].write_text(text, encoding="utf-8", newline="")
            if path.exists():
                partials[path].chmod(path.stat().st_mode)
        run_formatters([str(each) for each in partials.values()], stderr=stderr)
        for path, partial in partials.items():
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            sync_directory(path.parent)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
