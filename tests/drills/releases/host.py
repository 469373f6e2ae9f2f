"""A host in a directory: a clone, its releases, two colours behind nginx."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy_ops.audit import read_events
from deploy_ops.release.host.config import Host, read_host
from tests.clusters import free_port
from tests.drills.releases import systemctl
from tests.drills.releases.runbook import commands
from tests.drills.releases.site import FILES, write
from tests.nginx import nginx_config
from tests.programs import find_program
from tests.project.runner import REPOSITORY

SHARES = (1, 2, 5, 10, 25, 50)
UNIT = """
[Service]
WorkingDirectory={root}/colours/%i
EnvironmentFile={root}/secrets.env
EnvironmentFile={root}/colours/%i/release.env
ExecStart={root}/colours/%i/.venv/bin/python -m gunicorn site_wsgi --worker-class gthread --threads 8 --graceful-timeout 30 --no-control-socket --bind unix:{sockets}/%i.sock
TimeoutStopSec=40
"""
NGINX = """
    split_clients "$cookie_canary_id" $level {{ 1% 1; 1% 2; 3% 5; 5% 10; 15% 25; 25% 50; * all; }}
    map $level $pool {{ default canary-$level; all current; }}
{upstreams}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://$pool;
            proxy_set_header Host $host;
            proxy_next_upstream off;
        }}
    }}
"""
UPSTREAM = "    upstream {name} {{ server unix:{sockets}/{name}.sock max_fails=0; }}"


class ReleaseHost:
    """Everything in one directory; `deploy` runs the deployer as deploy.sh does."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory, self.port = directory, free_port()
        self.started: list[subprocess.Popen[bytes]] = []
        self.root, self.sockets = directory / "srv", directory / "run"
        self.audit, self.programs = directory / "state", directory / "bin"
        for path in (self.root, self.sockets, self.programs):
            path.mkdir()
        self._write_environment(database_url)
        self._write_systemd()
        self._write_config()
        git = self.git
        git("init", "--quiet", "--initial-branch=main")
        git("config", "user.name", "Anna")
        git("config", "user.email", "anna@example.org")
        self.host: Host = read_host_of(self)

    def _write_environment(self, database_url: str) -> None:
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        token = self.directory / "token"
        token.write_text("t" * 40)
        token.chmod(0o600)
        lines = {
            "DATABASE_URL": database_url,
            "SECRET_KEY": "0123456789abcdef" * 4,
            "PYTHONPATH": f"{packages}:{REPOSITORY}",
            "DEPLOY_OPS_STATE_DIR": str(self.audit),
            "DEPLOY_OPS_METRICS_TOKEN_FILE": str(token),
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (self.root / "secrets.env").write_text(text)

    def _write_systemd(self) -> None:
        program = self.programs / "systemctl"
        shutil.copy(systemctl.__file__, program)
        program.chmod(0o755)
        unit = UNIT.format(root=self.root, sockets=self.sockets)
        (self.programs / "site@.service").write_text(unit)

    def _write_config(self, **more: str) -> None:
        values = {
            "url": f'"http://127.0.0.1:{self.port}"',
            "sockets": f'"{self.sockets}"',
            "state": f'"{self.directory}/deploy-state"',
            "audit": f'"{self.audit}"',
            "environment": f'["{self.root}/secrets.env"]',
            "units": '["site@{colour}"]',
            "main": '"refs/heads/main"',
            "python": f'"{sys.executable}"',
            "gate_seconds": "15",
            "watch_seconds": "1",
            "metrics_token_file": f'"{self.directory}/token"',
        } | more
        text = "".join(f"{name} = {value}\n" for name, value in values.items())
        (self.directory / "host.toml").write_text(text)

    def configure(self, **values: str) -> None:
        """Other values of the file, as TOML."""
        self._write_config(**values)
        self.host = read_host_of(self)

    def git(self, *arguments: str) -> str:
        env = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def release(self, tag: str, files: dict[str, str] | None = None) -> None:
        """Commit the site with these files besides, and tag it as a developer does."""
        if self.git("ls-files"):
            self.git("rm", "-r", "--quiet", "--force", ".")
        write(self.root, FILES | (files or {}))
        for name in files or {}:
            if name.startswith("deploy/hooks/"):
                (self.root / name).chmod(0o755)
        self.git("add", "--all", ":!secrets.env")
        self.git("commit", "--quiet", "--allow-empty", "-m", tag)
        self.git("tag", "-a", tag, "-m", f"Release {tag}")

    def next_release(self, files: dict[str, str] | None = None) -> str:
        """Tag a release that is newer than all others; return the tag."""
        newest = max(
            map(int, self.git("tag", "--list").replace("v1.", "").replace(".0", "").split())
        )
        tag = f"v1.{newest + 1}.0"
        self.release(tag, files)
        return tag

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.directory),
            "PYTHONPATH": str(REPOSITORY),
            "DEPLOY_HOST": str(self.directory / "host.toml"),
            "DEPLOY_BY": "anna",
        }

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "deploy_ops.release.host"]

    def deploy(self, *arguments: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.argv, *arguments],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def as_typed(self, words: str, tag: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the German runbook, with this tag in place of TAG."""
        assert words in commands()
        return self.deploy(*words.replace("TAG", tag).split())

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """The same, not waited for, in a group of its own."""
        with (self.directory / "deploy.log").open("a") as log:
            process = subprocess.Popen(
                [*self.argv, *arguments],
                cwd=self.root,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def end_started(self) -> None:
        """Nothing that a failed test has started holds the lock of the next one."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.started.clear()

    def step(self) -> str | None:
        """What the deployment that is on its way does now."""
        return (self.record() or {}).get("step")

    def get(self, path: str = "/", cookie: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def version(self) -> str:
        """What a visitor gets."""
        return self.get()[1].split()[0]

    def running(self) -> list[str]:
        """Colours whose process is there."""
        return [
            colour
            for colour in ("blue", "green")
            if subprocess.run(
                [self.programs / "systemctl", "is-active", f"site@{colour}"], check=False
            ).returncode
            == 0
        ]

    def pid(self, colour: str) -> int:
        """The main process of a colour."""
        return int((self.programs / f"site@{colour}.pid").read_text())

    def events(self) -> list[tuple[str, str, str]]:
        return [(each.kind, each.outcome, each.version) for each in read_events(self.audit)]

    def record(self) -> dict | None:
        try:
            return json.loads((self.directory / "deploy-state" / "on-its-way.json").read_text())
        except FileNotFoundError:
            return None

    @contextmanager
    def nginx(self):
        program, config = find_program("nginx"), self.directory / "nginx.conf"
        names = ["current", *(f"canary-{share}" for share in SHARES)]
        for name in names[1:]:
            (self.sockets / f"{name}.sock").symlink_to("current.sock")
        upstreams = [UPSTREAM.format(name=name, sockets=self.sockets) for name in names]
        config.write_text(
            nginx_config(
                self.directory, NGINX.format(port=self.port, upstreams="\n".join(upstreams))
            )
        )
        process = subprocess.Popen([program, "-c", str(config), "-p", str(self.directory)])
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    self.get()
                    break
                except OSError:
                    assert time.monotonic() < deadline and process.poll() is None
                    time.sleep(0.02)
            yield
        finally:
            process.terminate()
            process.wait(10)

    def stop(self) -> None:
        for colour in ("blue", "green"):
            subprocess.run(
                [self.programs / "systemctl", "disable", "--now", f"site@{colour}"], check=False
            )


def read_host_of(host: ReleaseHost) -> Host:
    os.environ["DEPLOY_HOST"] = str(host.directory / "host.toml")
    try:
        return read_host(host.root)
    finally:
        del os.environ["DEPLOY_HOST"]


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.003)


@contextmanager
def release_host(directory: Path, database_url: str):
    """A host whose nginx runs and whose first release v1.0.0 is tagged and not deployed."""
    with ExitStack() as stack:
        host = ReleaseHost(directory, database_url)
        stack.callback(host.stop)
        stack.enter_context(host.nginx())
        host.release("v1.0.0")
        yield host
