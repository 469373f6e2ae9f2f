"""Peers that need a virtualenv of their own: another Django backend, another Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

NEWEST_MINOR = 14
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Peer:
    """A package with its version, and the oldest Python (3.x) that it takes."""

    requirement: str
    least_minor: int

    @property
    def title(self) -> str:
        """Its name and version, as people write them."""
        return self.requirement.replace("==", " ")


ZERO = Peer("django-pg-zero-downtime-migrations==0.20", 8)
DEFERRED = Peer("django-deferred-migrations==1.0.0", 12)


def make_environment(directory: Path, peer: Peer) -> Path | None:
    """Install it beside the same Django; its Python, or None with a line that says what failed."""
    python = next(_pythons(peer.least_minor), None)
    if python is None:
        print(f"{peer.requirement} is left out: no Python 3.{peer.least_minor} or newer is here")
        return None
    target = directory / peer.requirement.partition("=")[0]
    same = [f"Django=={version('Django')}", f"psycopg[binary]=={version('psycopg')}"]
    made = _try(python, "-m", "venv", target) and _try(
        target / "bin" / "python", "-m", "pip", "install", "--quiet", peer.requirement, *same
    )
    if not made:
        print(f"{peer.requirement} is left out: it could not be installed")
        return None
    return target / "bin" / "python"


def _pythons(least_minor: int) -> Iterator[str]:
    """Those new enough, the oldest first: on the path, or where pyenv keeps them."""
    if sys.version_info.minor >= least_minor:
        yield sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for minor in range(least_minor, NEWEST_MINOR + 1):
        found = [shutil.which(f"python3.{minor}"), *pyenv.glob(f"versions/3.{minor}.*/bin/python")]
        for each in filter(None, found):
            if _try(each, "-m", "venv", "--help"):  # pyenv has names on the path that do not run
                yield str(each)


def _try(*argv: object) -> bool:
    words = list(map(str, argv))
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
