"""Scripts as the deployment guide has them typed, and those of `make run`."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.docs.console import environment, status, wait_for


@pytest.fixture
def run_script(clone):
    """Runs a script of the clone, from another directory."""

    def run(name: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [clone / "scripts" / name, *argv],
            cwd="/",
            env=environment(clone) | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def trips(clone: Path) -> int:
    with closing(sqlite3.connect(clone / "var" / "kvb.sqlite3")) as connection:
        return connection.execute("SELECT count(*) FROM reisekosten_fahrt").fetchone()[0]


def delete_trips(clone: Path) -> None:
    with closing(sqlite3.connect(clone / "var" / "kvb.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM reisekosten_fahrt")


def install_python(clone: Path, path: str, name: str) -> None:
    """A Python that says which one it is and with what it was called."""
    python = clone / path
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho {name}; printf "%s\\n" "$@"; exit 3\n')
    python.chmod(0o755)


def test_what_backup_sh_saved_restore_sh_latest_brings_back(run_script, clone):
    before = trips(clone)
    saved = run_script("backup.sh", "--label", "von Hand", "--format", "json")
    assert saved.returncode == 0, saved.stderr
    delete_trips(clone)
    live = str(clone / "var" / "kvb.sqlite3")
    arguments = ("latest", "--noinput", "--confirm", live, "--format", "json")
    restored = run_script("restore.sh", *arguments)
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["backup"] == json.loads(saved.stdout)["backup"]
    assert trips(clone) == before > 0


def test_refusal_of_the_command_is_that_of_the_script(run_script, clone):
    run_script("backup.sh")
    refused = run_script("restore.sh", "latest", "--noinput")
    assert refused.returncode == 1
    assert "--confirm" in refused.stderr


@pytest.mark.parametrize("script", ["backup", "restore"])
def test_virtualenv_of_the_project_comes_first(run_script, clone, script):
    install_python(clone, "venv/bin/python", "venv")
    assert run_script(f"{script}.sh").stdout.splitlines()[0] == "venv"
    install_python(clone, ".venv/bin/python", "dotvenv")
    result = run_script(f"{script}.sh", "--label", "two words", "*")
    expected = ["dotvenv", "manage.py", script, "--label", "two words", "*"]
    assert (result.stdout.splitlines(), result.returncode) == (expected, 3)


@pytest.mark.parametrize("script", ["backup", "restore"])
def test_missing_python_is_told(run_script, tmp_path, script):
    (tmp_path / "bin").mkdir()
    os.symlink("/usr/bin/dirname", tmp_path / "bin" / "dirname")
    result = run_script(f"{script}.sh", PATH=str(tmp_path / "bin"))
    assert result.returncode == 1
    assert "There is no Python here" in result.stderr


NEW_PAGE = """
from django.http import HttpResponse
urlpatterns.append(path("neu/", lambda request: HttpResponse("neu")))
"""


def test_restart_dev_loads_changed_code_and_not_broken_code(clone, served):
    def restart():
        argv = [clone / "scripts/dev_restart", clone / ".venv", str(served)]
        return subprocess.run(
            argv, cwd=clone, env=environment(clone), capture_output=True, text=True, check=False
        )

    urls = clone / "kvb/app/urls.py"
    good = urls.read_text()
    urls.write_text(f"{good}\n1 / 0\n")
    assert restart().returncode != 0
    assert status(served, "/health/") == 200

    urls.write_text(f"{good}\nfrom django.urls import path\n{NEW_PAGE}")
    done = restart()
    assert done.returncode == 0, done.stderr
    wait_for(lambda: status(served, "/neu/") == 200)


def test_restart_dev_without_a_server(run_script, clone):
    told = run_script("dev_restart", str(clone / ".venv"), "8000")
    assert told.returncode == 1
    assert "No make run serves on port 8000 here. Nothing was changed." in told.stderr
