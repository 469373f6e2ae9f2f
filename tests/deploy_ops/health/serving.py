"""Real gunicorn processes on loopback, clusters that can be stopped, ports that swallow packets."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.clusters import STOP_SECONDS, PostgresCluster, free_port
from tests.project.runner import REPOSITORY

START_SECONDS = 30
CONFIG = REPOSITORY / "kvb" / "app" / "gunicorn.conf.py"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer and how long it took."""

    status: int
    headers: dict[str, str]
    content: bytes
    seconds: float

    def json(self) -> dict:
        return json.loads(self.content)


class Server:
    """gunicorn with the shipped configuration; leave the block and it is gone, log included."""

    wsgi = "tests.deploy_ops.health.served"
    asgi = "tests.deploy_ops.health.served:asgi"

    def __init__(self, directory: Path, database_url: str, *options: str, **env: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.log_file = directory / "gunicorn.log"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "APP_VERSION": "1.2.3",
            "DRAIN_SECONDS": "0",
            "DJANGO_SETTINGS_MODULE": "tests.deploy_ops.health.served_settings",
            "DATABASE_URL": database_url,
            "DEPLOY_OPS_STATE_DIR": str(directory),
            "MEDIA_ROOT": str(directory / "media"),
        } | env
        application = self.asgi if "asgi" in options else self.wsgi
        self.argv = [sys.executable, "-m", "gunicorn", application]
        self.argv += ["--config", str(CONFIG), "--bind", f"127.0.0.1:{self.port}", *options]
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Server":
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                self.argv,
                cwd=REPOSITORY,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._serves():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.1)
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended with all its workers
            pass
        self.process.wait(STOP_SECONDS)

    def get(self, path: str, method: str = "GET", timeout: float = 20, **headers: str) -> Answer:
        """One request on a connection of its own, as load balancers make them."""
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, headers={"Connection": "close"} | headers)
            response = connection.getresponse()
            content = response.read()
            seconds = time.monotonic() - started
            return Answer(response.status, dict(response.getheaders()), content, seconds)
        finally:
            connection.close()

    def log(self) -> str:
        return self.log_file.read_text()

    def _serves(self) -> bool:
        try:
            return self.get("/health/").status == 200
        except OSError:
            return False

    @contextmanager
    def watched(self) -> Iterator["Watch"]:
        """Poll /health/ all the time during the block."""
        watch = Watch(self)
        watch.thread.start()
        try:
            yield watch
        finally:
            watch.stop.set()
            watch.thread.join()


@dataclass
class Watch:
    """What polls of /health/ saw: seconds of each, and statuses."""

    server: Server
    seconds: list[float] = field(default_factory=list)
    statuses: set[object] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._poll)

    def _poll(self) -> None:
        while not self.stop.wait(0.05):
            try:
                answer = self.server.get("/health/")
                self.seconds.append(answer.seconds)
                self.statuses.add(answer.status)
            except OSError as error:
                self.statuses.add(repr(error))


class FragileCluster(PostgresCluster):
    """A cluster that can be stopped, started again and frozen."""

    def halt(self) -> None:
        """Stop as `pg_ctl stop -m fast` does."""
        self._postmaster.send_signal(signal.SIGINT)
        self._postmaster.wait(STOP_SECONDS)

    def resume(self) -> None:
        """Start again, on the same port and directory."""
        self._serve()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP on all processes of the server, SIGCONT afterwards."""
        pids = self.pids()
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def black_hole() -> Iterator[int]:
    """A port whose listener never accepts and whose backlog is full: connecting hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = []
        try:
            while len(fillers) < 16:
                filler = socket.socket()
                fillers.append(filler)
                filler.settimeout(0.3)
                filler.connect(("127.0.0.1", port))
        except TimeoutError:
            yield port
        else:
            raise AssertionError("the backlog never filled")
        finally:
            for filler in fillers:
                filler.close()
