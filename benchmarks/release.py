"""How another version gets the requests: deploy.sh's switch beside four others, under load.

Behind nginx, on gunicorn with two workers of four threads, while eight people on kept connections send
GET and POST. `until new` is the time from the first command to the first answer of the new version;
where two versions run, the new one was started and asked before, as a gate does. `back` is the same
the other way, and `failed` counts every answer that is none or an error.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.machine import describe_machine
from benchmarks.pairs import print_table
from deploy_ops.release.host.colours import Colour, switch
from deploy_ops.release.host.config import Host
from tests.clusters import free_port
from tests.nginx import nginx_config
from tests.programs import find_program
from tests.visitors import Visitors

REPOSITORY = Path(__file__).resolve().parents[1]
HTTP = """
    include {directory}/upstream.conf;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://site; proxy_next_upstream off; }}
    }}
"""
UPSTREAM = "upstream site {{ server unix:{socket} max_fails=0; }}\n"
LIMIT_SECONDS = 60  # more than gunicorn gives a worker that does not end
COLOURS = {"1": Colour.BLUE, "2": Colour.GREEN}


@dataclass
class Site:
    """nginx and the gunicorns behind it, in one directory."""

    directory: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)

    def socket(self, name: str) -> Path:
        """Where the gunicorn of a name listens."""
        return self.directory / f"{name}.sock"

    def serve(self, socket: Path) -> None:
        """Start nginx, which asks that socket."""
        self.ask(socket)
        config = self.directory / "nginx.conf"
        http = HTTP.format(directory=self.directory, port=self.port)
        config.write_text(nginx_config(self.directory, http, main="worker_processes 2;"))
        self.start([find_program("nginx"), "-c", str(config), "-p", str(self.directory)])
        wait_until(lambda: self.answers("1"))

    def ask(self, socket: Path) -> None:
        """Name the socket in the file that nginx reads when it starts and is reloaded."""
        (self.directory / "upstream.conf").write_text(UPSTREAM.format(socket=socket))

    def gunicorn(self, name: str, version: str) -> "subprocess.Popen[bytes]":
        """Start a version under a name, and wait until its socket answers."""
        home = self.directory / name
        home.mkdir(exist_ok=True)
        (home / "version").write_text(version)
        # By its script: after USR2 `python -m` would not find it again.
        program = Path(sys.executable).with_name("gunicorn")
        argv = [str(program), "benchmarks.release_app", "--chdir", str(home)]
        argv += ["--workers=2", "--worker-class=gthread", "--threads=4", "--graceful-timeout=30"]
        argv += [f"--bind=unix:{self.socket(name)}", f"--pid={home}/pid", "--no-control-socket"]
        process = self.start(argv)
        wait_until(lambda: (home / "pid").exists() and self.says(name) == version)
        return process

    def start(self, argv: list[str]) -> "subprocess.Popen[bytes]":
        """Start a program that ends with the site."""
        env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        with (self.directory / "log").open("a") as log:
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        self.stack.callback(end, process)
        return process

    def says(self, name: str) -> str:
        """What a gunicorn answers on its own socket, "" if it does not."""
        return curl("--unix-socket", str(self.socket(name)), "http://site/")

    def answers(self, version: str) -> bool:
        """Whether visitors get this version."""
        return curl(f"http://127.0.0.1:{self.port}/") == version

    def pid(self, name: str) -> int:
        """The master's; 0 while there is none."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.directory / name / "pid").read_text(encoding="ascii"))
        return 0


class Method:
    """One way; `to` gives the requests to a version, and returns when that was told to everybody."""

    name: str

    def __init__(self, site: Site) -> None:
        self.site = site

    @abstractmethod
    def begin(self) -> None:
        """Serve version 1."""

    @abstractmethod
    def to(self, version: str) -> None:
        """Serve that version from now on."""


class InPlace(Method):
    """The code that runs is replaced."""

    def begin(self) -> None:
        """One gunicorn."""
        self.process = self.site.gunicorn("only", "1")
        self.site.serve(self.site.socket("only"))

    def replace(self, version: str) -> None:
        """As `git checkout` does in the directory that serves."""
        (self.site.directory / "only" / "version").write_text(version)


class Restart(InPlace):
    """`systemctl restart`: SIGTERM, wait for the end, start."""

    name = "stop and start"

    def to(self, version: str) -> None:
        end(self.process)
        self.process = self.site.gunicorn("only", version)


class Hup(InPlace):
    """SIGHUP: gunicorn loads the code anew in new workers."""

    name = "HUP"

    def to(self, version: str) -> None:
        self.replace(version)
        os.kill(self.site.pid("only"), signal.SIGHUP)


class Usr2(InPlace):
    """USR2, then WINCH and QUIT to the old master, as recipes have it."""

    name = "USR2, WINCH, QUIT"

    def to(self, version: str) -> None:
        self.replace(version)
        old, beside = self.site.pid("only"), self.site.directory / "only" / "pid.2"
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: beside.exists() and beside.read_text(encoding="ascii").strip() != "")
        self.site.stack.callback(kill, int(beside.read_text(encoding="ascii")))
        wait_until(lambda: self.site.answers(version))
        os.kill(old, signal.SIGWINCH)
        os.kill(old, signal.SIGQUIT)
        # The new master takes the pid file over when the old one has ended.
        wait_until(lambda: not beside.exists() and self.site.pid("only") not in (0, old))


class Colours(Method):
    """Both versions run, each on a socket of its own."""

    def begin(self) -> None:
        """Both are started, as after the gate."""
        for version, colour in COLOURS.items():
            self.site.gunicorn(colour, version)
        self.site.serve(self.first())

    def first(self) -> Path:
        """What nginx asks at the beginning."""
        return self.site.socket(COLOURS["1"])


class Reload(Colours):
    """The upstream is rewritten, and nginx reloaded."""

    name = "nginx reload"

    def to(self, version: str) -> None:
        self.site.ask(self.site.socket(COLOURS[version]))
        os.kill(int((self.site.directory / "nginx.pid").read_text()), signal.SIGHUP)


class Link(Colours):
    """deploy.sh: the link that nginx asks is renamed."""

    name = "deploy.sh: link"

    def first(self) -> Path:
        directory = self.site.directory
        (directory / "state").mkdir()
        self.host = Host(
            root=directory,
            url="http://site",
            sockets=directory,
            state=directory / "state",
            audit=directory / "state",
            environment=(),
            units=(),
        )
        switch(self.host, COLOURS["1"])
        return self.site.socket("current")

    def to(self, version: str) -> None:
        switch(self.host, COLOURS[version])


METHODS: tuple[type[Method], ...] = (Restart, Hup, Usr2, Reload, Link)


@dataclass
class Outcome:
    """What one way came to, over all its switches."""

    forth_ms: list[float] = field(default_factory=list)
    back_ms: list[float] = field(default_factory=list)
    answers: int = 0
    failed: int = 0
    longest_ms: float = 0.0


def measure(kind: type[Method], switches: int, outcome: Outcome) -> None:
    """Switch to version 2 and back so often, under load."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="bench_release_"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        site = Site(directory, stack)
        method = kind(site)
        method.begin()
        people = [Visitors(site.port, "/", {"Host": "site"}) for _ in range(2)]
        with people[0], people[1]:
            time.sleep(0.5)
            for _ in range(switches):
                for version, times in (("2", outcome.forth_ms), ("1", outcome.back_ms)):
                    times.append(1000 * seconds_until(site, method, version))
                    time.sleep(0.5)
        for four in people:
            outcome.answers += len(four.answers)
            outcome.failed += sum(status != 200 for _, status in four.answers)
            outcome.longest_ms = max(outcome.longest_ms, 1000 * max(four.seconds))


def seconds_until(site: Site, method: Method, version: str) -> float:
    """How long it takes until a visitor gets the version."""
    began = time.monotonic()
    method.to(version)
    wait_until(lambda: site.answers(version))
    return time.monotonic() - began


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again and again; SystemExit if it does not come."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"The new version did not come in {LIMIT_SECONDS} s.")
        time.sleep(0.002)


def curl(*arguments: str) -> str:
    """The body of an answer, "" if there is none."""
    argv = ["curl", "--silent", "--max-time", "5", "--noproxy", "*", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and wait for the end."""
    if process.poll() is None:
        process.terminate()
        process.wait(60)


def kill(pid: int) -> None:
    """End what is no child of ours."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--switches", type=int, default=5, help="there and back, in each round")
    options = parser.parse_args()
    print("\n".join(describe_machine(Path(tempfile.gettempdir()), [find_program("nginx")])))
    outcomes = {kind: Outcome() for kind in METHODS}
    for number in range(options.rounds):
        for kind, outcome in outcomes.items():
            measure(kind, options.switches, outcome)
            print(f"round {number + 1}: {kind.name}: {outcome.failed} failed so far", flush=True)
    head = ["way", "switches", "until new, ms", "back, ms", "answers", "failed", "longest, ms"]
    print_table("Ways", head, [_cells(kind.name, each) for kind, each in outcomes.items()])


def _cells(name: str, found: Outcome) -> list[str]:
    return [
        name,
        str(len(found.forth_ms) + len(found.back_ms)),
        f"{median(found.forth_ms):.0f} (most {max(found.forth_ms):.0f})",
        f"{median(found.back_ms):.0f} (most {max(found.back_ms):.0f})",
        str(found.answers),
        str(found.failed),
        f"{found.longest_ms:.0f}",
    ]


if __name__ == "__main__":
    main()
