"""systemd's EnvironmentFile, read as systemd reads it (systemd.exec(5)).

A command of a release needs the same variables as the release that serves, and only systemd's own
processes get them from systemd.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from deploy_ops.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOUBLE = re.compile(r'\\(["\\`$])')


def read_environment(paths: Iterable[Path]) -> dict[str, str]:
    """The variables of all files, a later one's before an earlier one's.

    Raises ConfigurationError, which names the line and never its content: it may be a secret.
    """
    found: dict[str, str] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{path} cannot be read: {getattr(error, 'strerror', 'it is no text')}. The "
                "release cannot be asked anything without its variables. Nothing was changed."
            ) from error
        found |= _variables(path, text)
    return found


def _variables(path: Path, text: str) -> dict[str, str]:
    found = {}
    for number, line in enumerate(text.replace("\\\n", "").split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise ConfigurationError(
                f"Line {number} of {path} is no NAME=value. Nothing was changed."
            )
        found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _DOUBLE.sub(r"\1", value[1:-1])
    return value
