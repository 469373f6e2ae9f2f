"""What a compiled requirements.txt pins, as `pip-compile` and `uv pip compile` write it."""

import re
from collections.abc import Iterator
from pathlib import Path

# A line with a marker may hold on another platform only, so nothing is said of it.
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)\s*(?:\\|#.*)?$", re.M)


def pinned(path: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each `name==version`; nothing without a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    for found in _PIN.finditer(text):
        yield found[1], found[2]
