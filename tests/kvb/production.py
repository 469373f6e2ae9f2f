"""kvb-admin behind gunicorn as production runs it, on loopback."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.deploy_ops.health.serving import Answer, Server
from tests.project.runner import REPOSITORY

SECRET_KEY = "vN3kQ8-pZt5yLw0aXe7RbUj2mHc9sGdF4iKoWnT6qYxB1lPztailofit"
# What nginx sends.
HEADERS = {"Host": "kvb.example.org", "X-Forwarded-Proto": "https"}


class Production(Server):
    """Two workers with the production settings; everything they write is in `directory`."""

    wsgi = "kvb.app.wsgi"
    asgi = "kvb.app.asgi:application"

    def __init__(self, directory: Path, database_url: str, *options: str, **env: str) -> None:
        super().__init__(directory, database_url, *options, **env)
        self.env = {
            **self.env,
            "DJANGO_SETTINGS_MODULE": "tests.kvb.served_settings",
            "SECRET_KEY": SECRET_KEY,
            "ALLOWED_HOSTS": HEADERS["Host"],
            "KVB_DATA_DIR": str(directory),
            "DEPLOY_OPS_METRICS_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TMPDIR": str(directory),
            "PYTHONWARNINGS": "error",
        } | env

    def manage(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A management command with the same environment; it has to succeed."""
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result

    def visit(self, path: str, **headers: str) -> Answer:
        """A request as nginx hands it on."""
        return self.get(path, **HEADERS, **headers)

    def visit_every_worker(self, path: str) -> int:
        """Ask until both workers have answered; how many requests that took."""
        seen, count, deadline = set(), 0, time.monotonic() + 30
        while len(seen) < 2:
            assert time.monotonic() < deadline, "one worker answers everything"
            seen.add(self.visit(path).content)
            count += 1
        return count

    def directories(self) -> list[str]:
        """Those for counting, of all servers in this TMPDIR."""
        return [name for name in os.listdir(self.directory) if name.startswith("deploy-ops-metr")]
