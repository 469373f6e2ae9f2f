"""What the units start runs under the filter of system calls that they ask for."""

import ctypes.util
import shutil
import signal
import subprocess
import sys

import pytest

from tests.deploy.test_files import DEPLOY, SERVICES, read
from tests.kvb.production import Production
from tests.project.runner import REPOSITORY

FILTER = [sys.executable, "-m", "tests.deploy.system_calls"]
WEB = DEPLOY / "systemd" / "kvb-admin@.service"
COMMANDS = [path for path in SERVICES if "manage.py" in path.read_text(encoding="utf-8")]
ARCHIVES = [path for path in COMMANDS if "manage.py archive" in path.read_text(encoding="utf-8")]
JOBS = [path for path in COMMANDS if path not in ARCHIVES]


@pytest.fixture(scope="module")
def under_filter():
    """The beginning of a command line that is run under a unit's filter."""
    analyze = shutil.which("systemd-analyze")
    if not (analyze and ctypes.util.find_library("seccomp")):
        pytest.skip("NOT TESTED UNDER THE UNITS' FILTERS: no systemd-analyze, or no libseccomp")
    return lambda unit: [*FILTER, str(unit), analyze]


class Served(Production):
    """The command of the unit, its socket in the test's directory."""

    def __init__(self, directory, beginning):
        super().__init__(directory, f"sqlite:///{directory / 'kvb.sqlite3'}")
        argv = read(WEB)["Service"]["ExecStart"].split()
        self.argv = [*beginning, sys.executable, *argv[1:-1], f"unix:{directory}/blue.sock"]
        self.argv += ["--bind", f"127.0.0.1:{self.port}"]


def test_a_colour_serves_on_its_socket_and_stops(under_filter, tmp_path):
    with Served(tmp_path, under_filter(WEB)) as server:
        assert (tmp_path / "blue.sock").is_socket()
        assert server.get("/health/").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0, server.log()


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_do_their_work(under_filter, pg15, tmp_path, path):
    """With pg_dump and pg_restore, which inherit the filter."""
    project = Production(tmp_path, pg15.url)
    project.manage("migrate", "-v0")
    project.manage("backup")
    done = run_job(under_filter(path), project, path)
    assert done.returncode == 0, done


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_jobs_of_an_archive_say_that_there_is_none(under_filter, pg15, tmp_path, path):
    """The application is deployed without one."""
    done = run_job(under_filter(path), Production(tmp_path, pg15.url), path)
    assert done.returncode == 1 and "DEPLOY_OPS_ARCHIVE is not set" in done.stderr, done


def run_job(beginning, project, path):
    """Run what the unit of a job starts."""
    return subprocess.run(
        [*beginning, sys.executable, *read(path)["Service"]["ExecStart"].split()[1:]],
        cwd=REPOSITORY,
        env=project.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_not_allowed_ends_the_process(under_filter, tmp_path):
    """Else the others would prove nothing."""
    code = "import os; os.sched_setaffinity(0, os.sched_getaffinity(0))"
    done = subprocess.run(
        [*under_filter(WEB), sys.executable, "-c", code], cwd=REPOSITORY, check=False
    )
    assert done.returncode == -signal.SIGSYS
