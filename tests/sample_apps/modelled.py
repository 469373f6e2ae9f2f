"""An app of which a test changes the models, as a developer would; commands write its migrations."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

HEADER = """
import datetime
import uuid

from django.db import models
from django.db.models import functions
from django.utils import timezone
"""


@dataclass
class ModelledApp:
    """The app `generated.<label>` below a project's directory."""

    directory: Path
    label: str = "shop"

    def __post_init__(self) -> None:
        self.migrations_dir.mkdir(parents=True)
        for path in (self.package.parent, self.package, self.migrations_dir):
            (path / "__init__.py").touch()

    @property
    def name(self) -> str:
        """As in INSTALLED_APPS."""
        return f"generated.{self.label}"

    @property
    def package(self) -> Path:
        """The directory of the app."""
        return self.directory / "generated" / self.label

    @property
    def migrations_dir(self) -> Path:
        """The directory of its migrations."""
        return self.package / "migrations"

    def models(self, text: str) -> None:
        """Write models.py."""
        (self.package / "models.py").write_text(f"{HEADER}\n\n{dedent(text)}")
        self._forget_compiled()

    def migrations(self) -> dict[str, str]:
        """The texts of its migrations by name, in their order."""
        paths = sorted(self.migrations_dir.glob("[0-9]*.py"))
        return {path.stem: path.read_text() for path in paths}

    def remove_behind(self, number: str) -> None:
        """Take away what comes behind the migration of this number."""
        for name in self.migrations():
            if name[:4] > number:
                (self.migrations_dir / f"{name}.py").unlink()
        self._forget_compiled()

    def _forget_compiled(self) -> None:
        """Files that change within a second without changing their size would not be read again."""
        for path in list(self.package.rglob("__pycache__")):
            shutil.rmtree(path)
