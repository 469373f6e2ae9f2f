"""A host whose clone has tags of all kinds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_ops.release.host.config import Host


@pytest.fixture
def host(tmp_path):
    root = tmp_path / "srv"
    root.mkdir()
    sockets = tmp_path / "run"
    sockets.mkdir()
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return Host(
        root=root,
        url="http://127.0.0.1:9",
        sockets=sockets,
        state=state,
        audit=tmp_path / "audit",
        environment=(),
        units=("site@{colour}",),
        main="refs/heads/main",
        python=sys.executable,
    )


@pytest.fixture
def git(host, monkeypatch):
    """Runs git in the clone, whose main branch has one commit."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)

    def git(*arguments, cwd=host.root):
        done = subprocess.run(
            ["git", "-c", "user.name=Anna", "-c", "user.email=a@example.org", *arguments],
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    (host.root / "requirements.txt").write_text("")
    (host.root / "code.py").write_text("VALUE = 1\n")
    git("add", "--all")
    git("commit", "--quiet", "-m", "first")
    return git


@pytest.fixture
def remote(host, git, tmp_path):
    """The same with a remote that has what the clone has."""
    directory: Path = tmp_path / "remote"
    git("clone", "--quiet", "--bare", str(host.root), str(directory))
    git("remote", "add", "origin", str(directory))
    return directory
