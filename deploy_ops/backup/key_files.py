"""Files that hold keys: where they may lie, who may read and write them, how one is made."""

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A setting, the file it names, and the command that makes such a file (`{path}` is its)."""

    setting: str
    path: Path
    how_made: str

    def read_private(self) -> str:
        """Return the text of a file that nobody else may read; raises ConfigurationError."""
        return self._read(0o077, "600", "is open to other users")

    def read_public(self) -> str:
        """Return the text of a file that nobody else may write; raises ConfigurationError."""
        return self._read(0o022, "644", "can be changed by other users")

    def invalid(self, reason: str) -> ConfigurationError:
        """The error that says what is wrong with the file, and how one is made."""
        return ConfigurationError(
            f"{self.setting} {self.path} {reason}. Nothing was changed. "
            f"Such a file is made so:\n    {self.how_made.format(path=shlex.quote(str(self.path)))}"
        )

    def _read(self, forbidden: int, wanted: str, danger: str) -> str:
        self._check_place()
        try:
            with self.path.open(encoding="ascii") as file:
                mode, text = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise self.invalid(f"cannot be read: {type(error).__name__}") from None
        if mode & forbidden:
            raise ConfigurationError(
                f"{self.setting} {self.path} {danger} (mode {mode:04o}). "
                f"Nothing was changed. Close it:\n    chmod {wanted} {shlex.quote(str(self.path))}"
            )
        return text

    def _check_place(self) -> None:
        """A key beside what it protects, or on the web, protects nothing."""
        media = getattr(settings, "MEDIA_ROOT", "")
        for place in [conf.backup_dir, *([Path(media)] if media else [])]:
            if self.path.resolve().is_relative_to(place.resolve()):
                raise self.invalid(f"lies inside {place}, beside what it protects")


def cryptography_library(setting: str) -> Any:
    """Import cryptography, which only those who set a key need; raises ConfigurationError."""
    try:
        from deploy_ops.backup import ciphers  # pylint: disable=import-outside-toplevel
    except ImportError as error:
        raise ConfigurationError(
            f"{setting} is set, and the package cryptography is missing. "
            "Nothing was changed. Install it:\n    pip install 'deploy-ops[encryption]'"
        ) from error
    return ciphers
