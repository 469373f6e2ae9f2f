"""Runs management commands of the sample project in real processes."""

import atexit
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.project.commands import REPOSITORY, TIMEOUT_SECONDS, CommandServer, Result
from tests.project.databases import Database

DJANGO = (sys.executable, "-W", "error", "-m", "django")


_server: list[CommandServer] = []  # of this process, from the first command on


@dataclass
class Project:
    """A Django project of its own: one database, own directories, own environment."""

    directory: Path
    database: Database
    env: dict[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in (self.ops_dir, self.backups_dir, self.media_root, self._outputs):
            path.mkdir(mode=0o700)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self.directory),  # where write_many_migrations puts its package
            "DJANGO_SETTINGS_MODULE": "tests.project.settings",
            "DATABASE_URL": self.database.url,
            "DEPLOY_OPS_STATE_DIR": str(self.ops_dir),
            "DEPLOY_OPS_BACKUP_DIR": str(self.backups_dir),
            "MEDIA_ROOT": str(self.media_root),
            "SAMPLE_APPS": "",
            "SETTINGS_OVERRIDES": "{}",
        }

    @property
    def ops_dir(self) -> Path:
        """DEPLOY_OPS_STATE_DIR."""
        return self.directory / "ops"

    @property
    def backups_dir(self) -> Path:
        """DEPLOY_OPS_BACKUP_DIR."""
        return self.ops_dir / "backups"

    @property
    def media_root(self) -> Path:
        """MEDIA_ROOT."""
        return self.directory / "media"

    @property
    def _outputs(self) -> Path:
        return self.directory / "outputs"

    def with_apps(self, *names: str) -> "Project":
        """Install these sample apps (a name with a dot is taken as a module path)."""
        self.env["SAMPLE_APPS"] = ",".join(names)
        return self

    def settings(self, **overrides: Any) -> "Project":
        """Settings that win over those of tests/project/settings.py; JSON values only."""
        merged = json.loads(self.env["SETTINGS_OVERRIDES"]) | overrides
        self.env["SETTINGS_OVERRIDES"] = json.dumps(merged)
        return self

    def run(
        self,
        *argv: str,
        env: dict[str, str] | None = None,
        input: str | None = None,  # named as in subprocess.run
        timeout: float = TIMEOUT_SECONDS,
        check: int | None = None,
    ) -> Result:
        """Run a command to its end; with `check` its exit code has to be that one."""
        result = self._fork(argv, env or {}, timeout) if input is None else None
        if result is None:
            process = self.start(*argv, env=env, stdin=subprocess.PIPE if input else None)
            result = self.finish(process, input=input, timeout=timeout)
        assert check is None or result.code == check, f"expected exit code {check}: {result!r}"
        return result

    def json(self, *argv: str, **options: Any) -> Any:
        """Run a command with `--format json`; its stdout, parsed."""
        return self.run(*argv, "--format", "json", **options).json()

    def start(self, *argv: str, env: dict[str, str] | None = None, stdin=None) -> subprocess.Popen:
        """Start a command in a process group of its own and come back at once.

        Output goes to files: an orphaned child that holds a pipe open would make us wait for it.
        """
        number = len(self._started)
        with self._output(number, "stdout") as stdout, self._output(number, "stderr") as stderr:
            process = subprocess.Popen(
                [*DJANGO, *argv],
                cwd=REPOSITORY,
                env=self.env | (env or {}),
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def finish(
        self,
        process: subprocess.Popen,
        *,
        input: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Result:
        """Wait for a started command."""
        try:
            process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            self._kill(process)
            raise AssertionError(f"not done after {timeout} s: {self._result(process)!r}") from None
        return self._result(process)

    def output_of(self, process: subprocess.Popen) -> str:
        """What a started command has printed on stdout so far."""
        with self._output(self._started.index(process), "stdout", "r") as file:
            return file.read()

    def runs(self) -> list[Path]:
        """Journals, oldest name first."""
        return sorted((self.ops_dir / "runs").glob("*.jsonl"))

    def journal(self, path: Path | None = None) -> list[dict]:
        """The steps of that journal, by default of the only one."""
        if path is None:
            [path] = self.runs()
        return [json.loads(line) for line in path.read_text().splitlines()]

    def insert_trips(self, app: str, *trips: tuple[str, int]) -> None:
        """Rows (purpose, km) for the table that every sample app starts with."""
        for trip in trips:
            self.database.execute(f"INSERT INTO {app}_trip (purpose, km) VALUES (%s, %s)", trip)

    def trips(self, app: str) -> list[tuple[str, int]]:
        """The rows (purpose, km), in the order of insertion."""
        return self.database.query(f"SELECT purpose, km FROM {app}_trip ORDER BY id")

    def close(self) -> None:
        """End what a test left running, with its children."""
        for process in self._started:
            if process.poll() is None:
                self._kill(process)

    def _fork(self, argv: tuple[str, ...], env: dict[str, str], timeout: float) -> Result | None:
        server, env = _forking_server(), self.env | env
        return server.try_run(*argv, env=env, directory=self._outputs, timeout=timeout)

    def _kill(self, process: subprocess.Popen) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def _output(self, number: int, stream: str, mode: str = "w"):
        return (self._outputs / f"{number}.{stream}").open(mode, encoding="utf-8")

    def _result(self, process: subprocess.Popen) -> Result:
        number = self._started.index(process)
        outputs = []
        for stream in ("stdout", "stderr"):
            with self._output(number, stream, "r") as file:
                outputs.append(file.read())
        return Result(tuple(process.args[len(DJANGO) :]), process.returncode, *outputs)


def _forking_server() -> CommandServer:
    if not _server:
        _server.append(CommandServer())
        atexit.register(_server[0].close)
    return _server[0]
