"""Management commands at a tenth of the price: forked from a process that has imported Django.

A new interpreter takes 0.7 s to import what a command of 0.5 s needs. The server below imports it
once, opens no connection, starts no thread and reads no settings; then it forks for each command.
The child gets its environment and its output files before Django is set up, so settings, app
registry, connections and journal are its own, as in a new process. It is a real process in a
session of its own: SIGKILL, SIGTERM and exit codes mean the same.
"""

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

# What can be imported before there are settings: no models, and nothing that imports some.
IMPORTED = (
    *(f"django.contrib.auth.{name}" for name in ("apps", "checks", "decorators", "management")),
    *(f"django.contrib.auth.{name}" for name in ("hashers", "password_validation", "tokens")),
    *(f"django.contrib.contenttypes.{name}" for name in ("apps", "checks", "management")),
    *(f"django.core.{name}" for name in ("cache.backends.locmem", "paginator", "serializers.json")),
    *(f"django.core.management.commands.{name}" for name in ("makemigrations", "migrate")),
    *(f"django.db.{name}" for name in ("backends.postgresql.base", "backends.sqlite3.base")),
    *(f"django.views.{name}" for name in ("csrf", "debug", "generic")),
    "django.contrib.sites.shortcuts",
    "django.middleware.csrf",
    *(f"deploy_ops.backup.{name}" for name in ("checks", "methods.pg_dump", "methods.sqlite")),
    *(f"deploy_ops.databases.{name}" for name in ("checks", "postgresql", "sqlite")),
    *(f"deploy_ops.management.commands.{name}" for name in ("makemigrations", "safe_migrate")),
    *(f"deploy_ops.{name}" for name in ("apps", "checks", "health.checks", "phases.checks")),
    "environ",
)
REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 120


@dataclass(frozen=True, repr=False)
class Result:
    """What one command left behind; `code` is negative where a signal ended it."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """stdout, which has to be one JSON document and nothing else."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"stdout is not JSON: {self!r}") from None

    def __repr__(self) -> str:
        command = " ".join(self.argv)
        return (
            f"\n$ {command}\nexit code {self.code}\n"
            f"--- stdout ---\n{self.stdout}\n--- stderr ---\n{self.stderr}\n"
        )


class CommandServer:
    """The process that forks, as its client sees it; it does one command at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", __name__],
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def try_run(
        self,
        *argv: str,
        env: dict[str, str],
        directory: Path,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Result | None:
        """Run one command to its end, stdout and stderr into files; None while another one runs."""
        if not self._lock.acquire(blocking=False):
            return None
        stdout, stderr = directory / "stdout", directory / "stderr"
        job = {"argv": argv, "env": env, "stdout": str(stdout), "stderr": str(stderr)}
        try:
            print(json.dumps(job | {"timeout": timeout}), file=self._process.stdin, flush=True)
            code, is_late = json.loads(self._process.stdout.readline())
        finally:
            self._lock.release()
        result = Result(argv, code, stdout.read_text("utf-8"), stderr.read_text("utf-8"))
        assert not is_late, f"not done after {timeout} s: {result!r}"
        return result

    def run(self, *argv: str, env: dict[str, str], directory: Path) -> Result:
        """Run one command to its end; for callers that run one at a time."""
        result = self.try_run(*argv, env=env, directory=directory)
        assert result is not None
        return result

    def close(self) -> None:
        """End it; it ends by itself when its standard input does."""
        self._process.stdin.close()
        self._process.wait(TIMEOUT_SECONDS)
        self._process.stdout.close()


def serve() -> None:
    """Fork for every line of standard input and answer with the exit code."""
    for name in IMPORTED:
        import_module(name)
    gc.freeze()  # so that no child looks through it, and copies its pages
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(job)
        print(_wait(pid, job["timeout"]), flush=True)


def _wait(pid: int, timeout: float) -> str:
    """Wait for a child; its exit code, and whether it took too long and was killed."""
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, timeout)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    return json.dumps([code, left == 0])


def _become(job: dict) -> None:
    """Be a new `python -m django`: never returns."""
    os.setsid()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in ((1, job["stdout"]), (2, job["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(job["env"])
    sys.path[:0] = job["env"]["PYTHONPATH"].split(os.pathsep)
    sys.argv = ["manage.py", *job["argv"]]
    code = 1
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
