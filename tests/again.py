"""Run the tests of a folder once more, on another database than SQLite in memory."""

import os
import subprocess
import sys
from pathlib import Path

from tests.project.runner import REPOSITORY


def pass_on(database_url: str, folder: Path, *but: str) -> None:
    """Every test in `folder` has to pass and none to be skipped; `but` are file names to leave out."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    result = subprocess.run(
        [*command, *(f"--ignore-glob={folder / name}" for name in but)],
        cwd=REPOSITORY,
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert "SKIPPED" not in result.stdout
