import subprocess

import pytest

from tests.docs.console import environment, scratch_copy


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
