import os
import subprocess
from pathlib import Path

import pytest

DEV_VENV = Path(__file__).resolve().parents[2] / "scripts" / "dev_venv"


@pytest.fixture
def dev_venv(tmp_path):
    """Runs dev_venv with a Python that says of itself what the test wants."""

    def run(fake_python: str) -> subprocess.CompletedProcess[str]:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{fake_python}\n")
        python.chmod(0o755)
        return subprocess.run(
            [DEV_VENV, tmp_path / "venv", "requirements.txt"],
            env=os.environ | {"PYTHON": str(python)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_old_python_is_refused_by_its_version(dev_venv, tmp_path):
    result = dev_venv('case "$1" in --version) echo Python 3.9.18;; *) exit 1;; esac')
    assert result.returncode == 1
    assert "Python 3.9.18 is too old: this needs Python 3.11 or newer." in result.stderr
    assert not (tmp_path / "venv").exists()


def test_missing_venv_module_is_answered_with_the_command_that_installs_it(dev_venv, tmp_path):
    result = dev_venv('case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    assert result.returncode == 1
    assert "apt-get install python3-venv" in result.stderr
    assert not (tmp_path / "venv").exists()
