"""The file of a migration, as Django writes it, and whether it runs in a transaction; whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.utils import run_formatters
from django.db.migrations.writer import MigrationWriter

from deploy_ops.errors import MigrationError
from deploy_ops.files import sync_directory

DEPENDENCIES = "    dependencies = ["
NOT_ATOMIC = "    atomic = False\n"


class TwoPhaseWriter(MigrationWriter):
    """Django's own, which leaves `atomic` out before 6.1."""

    def as_string(self) -> str:
        """The text of the file."""
        text: str = super().as_string()
        if self.migration.atomic or NOT_ATOMIC in text:
            return text
        return text.replace(DEPENDENCIES, f"{NOT_ATOMIC}\n{DEPENDENCIES}", 1)


def write_whole(texts: Mapping[Path, str], stderr: Any) -> None:
    """Put each text under its name, formatted, whole or not at all, in their order.

    All are written beside their places before the first is moved: raises MigrationError for a
    full disk, with nothing moved yet.
    """
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.partial") for path in texts}
    try:
        for path, text in texts.items():
            _write_beside(path, partials[path], text)
        run_formatters([str(each) for each in partials.values()], stderr=stderr)
        for path, partial in partials.items():
            partial.replace(path)
            sync_directory(path.parent)
    except OSError as error:
        raise MigrationError(
            f"The migrations could not be written: {error.strerror}. Each file is as it was, or "
            "whole in its new form. Once that is fixed, run this again; it goes on from there."
        ) from error
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def _write_beside(path: Path, partial: Path, text: str) -> None:
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        partial.chmod(path.stat().st_mode)
