import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("bash", "cp", "dirname", "mkdir", "touch")
# Makes virtualenvs of itself; there is no Django 6.1 for it, and its tests fail on 6.0.
PYTHON = """#!/bin/bash
case "$*" in
    *-m\\ venv*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
    *Django~=6.1.0) exit 1 ;;
    *-m\\ pytest*) [[ "$0" != *django6.0* ]] ;;
esac
"""


@pytest.fixture
def matrix(tmp_path):
    """Runs test_matrix in a checkout of its own, where these versions of Python are."""

    def run(*versions: str) -> subprocess.CompletedProcess[str]:
        bin_directory = tmp_path / "bin"
        (tmp_path / "scripts").mkdir()
        bin_directory.mkdir()
        for name in ("test_matrix", "dev_venv", "dev_postgresql"):
            shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
        (tmp_path / "requirements-dev.txt").touch()
        for name in PROGRAMS:
            (bin_directory / name).symlink_to(shutil.which(name) or "/bin/true")
        for version in versions:
            (bin_directory / f"python{version}").write_text(PYTHON)
            (bin_directory / f"python{version}").chmod(0o755)
        return subprocess.run(
            [tmp_path / "scripts" / "test_matrix"],
            env={"PATH": str(bin_directory), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def test_what_passed_what_failed_and_what_is_not_here(matrix):
    result = matrix("3.12", "3.11")
    assert result.returncode == 1
    said = [
        line
        for line in result.stdout.splitlines()
        if line[:8] in ("passed  ", "not run ", "FAILED  ")
    ]
    assert said == [
        "passed   Python 3.11, Django 5.2",
        "passed   Python 3.12, Django 5.2",
        "not run  Python 3.12, Django 6.1: pip did not install that Django",
        "not run  Python 3.13: it is not here, or has no venv module",
        "not run  Python 3.14: it is not here, or has no venv module",
        "FAILED   Python 3.12, Django 6.0",
    ]


def test_nothing_run_is_no_success(matrix):
    result = matrix()
    assert result.returncode == 1
    assert "passed" not in result.stdout
