import signal
import subprocess
import sys

import pytest

from tests.clusters import free_port
from tests.docs.console import environment, scratch_copy, status, wait_for


@pytest.fixture
def clone(tmp_path):
    """The project as `make run` leaves it, without the server."""
    directory = tmp_path / "kvb-admin"
    directory.mkdir()
    scratch_copy(directory)
    for command in ("safe_migrate --noinput", "demo_data --if-empty"):
        argv = ["python", "manage.py", *command.split()]
        env = environment(directory)
        subprocess.run(argv, cwd=directory, env=env, check=True, capture_output=True)
    return directory


@pytest.fixture
def served(clone):
    """Starts the server of `make run`; returns its port."""
    python, port = clone / ".venv" / "bin" / "python", free_port()
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with (clone.parent / "run.log").open("w") as log:
        server = subprocess.Popen(
            [clone / "scripts/dev_run", clone / ".venv", str(port)],
            cwd=clone,
            env=environment(clone),
            stdout=log,
            stderr=log,
        )
    wait_for(lambda: status(port, "/health/") == 200)
    yield port
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
