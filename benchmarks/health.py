"""Polls per processor second of gunicorn's workers, beside a bare WSGI app and a peer.

Only the processor time of the workers counts, since clients and PostgreSQL share the machine.
The server is gunicorn with the shipped configuration; every goal is a ratio within a round.
"""

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.machine import describe_machine, tree_seconds
from benchmarks.pairs import Ratio, by_round, print_ratios, print_table
from tests.clusters import PostgresCluster, free_port
from tests.project.runner import REPOSITORY

CLIENTS = 4
START_SECONDS = 30
PEER = "django-health-check"
# Each has a gunicorn of its own, so that none works in the heap and beside the threads of another.
SERVERS = {"bare": "bare_app()", "ours": "django_app()", PEER: "django_app()"}
NOTHING, DATABASE = f"{PEER}, no check", f"{PEER}, database"
LOCAL = f"{PEER}, cache, database, storage"


@dataclass(frozen=True)
class Job:
    """One kind of poll: which of SERVERS answers it, and where."""

    server: str
    path: str
    share: float = 1.0  # of the polls: a slow one needs fewer for the same precision


JOBS = {
    "bare WSGI": Job("bare", "/health/"),
    "/health/": Job("ours", "/health/"),
    "/health/db/": Job("ours", "/health/db/"),
    NOTHING: Job(PEER, "/peer/nothing/", 0.2),
    DATABASE: Job(PEER, "/peer/db/", 0.1),
    LOCAL: Job(PEER, "/peer/", 0.1),
}


def main() -> None:
    """Measure and print."""
    options = _options()
    cluster = PostgresCluster(options.major)
    with tempfile.TemporaryDirectory(prefix="bench_") as directory:
        try:
            url = cluster.start().create_database()
            lines = describe_machine(Path(directory), [str(cluster.bindir / "postgres")])
            peers = ("gunicorn", PEER)
            lines.append(", ".join(f"{name} {version(name)}" for name in peers))
            print("\n".join(lines), flush=True)
            with ExitStack() as stack:
                servers = {
                    name: stack.enter_context(_served(app, url, directory))
                    for name, app in SERVERS.items()
                }
                report(measure(servers, options.polls, options.rounds))
        finally:
            cluster.stop()


def measure(servers: Mapping[str, "Server"], polls: int, rounds: int) -> dict[str, list[float]]:
    """Polls per processor second of each job, round by round."""
    rates: dict[str, list[float]] = {name: [] for name in JOBS}
    for number in range(rounds + 1):
        for name, job in JOBS.items():
            count = max(CLIENTS, int(polls * job.share))
            rate = servers[job.server].rate(job.path, count)
            if number:  # the first round warms up: imports, connections
                rates[name].append(rate)
                print(f"round {number}: {name}: {rate:.0f} polls per s of CPU", flush=True)
    return rates


def report(rates: Mapping[str, list[float]]) -> None:
    """Print both tables."""
    rows = [
        [name, str(len(each)), f"{median(each):.0f}", f"{1e6 / median(each):.0f}"]
        for name, each in rates.items()
    ]
    print_table("Workers", ["poll", "n", "polls per CPU s, median", "CPU µs per poll"], rows)
    live, connected, bare = rates["/health/"], rates["/health/db/"], rates["bare WSGI"]
    nothing, database, local = rates[NOTHING], rates[DATABASE], rates[LOCAL]
    print_ratios(
        "Goals",
        [
            Ratio("/health/ / bare WSGI", by_round(live, bare), 0.75, True),
            Ratio("/health/db/ / bare WSGI", by_round(connected, bare), 0.65, True),
            Ratio(f"/health/ / {LOCAL}", by_round(live, local), 10, True),
            Ratio(f"/health/ / {NOTHING}", by_round(live, nothing), 1, True),
            Ratio(f"/health/db/ / {DATABASE}", by_round(connected, database), 8, True),
        ],
    )


@dataclass(frozen=True)
class Server:
    """A running gunicorn."""

    pid: int
    port: int

    def rate(self, path: str, count: int) -> float:
        """Polls that the workers answer in one second of their processor time."""
        before = tree_seconds(self.pid)
        with ThreadPoolExecutor(CLIENTS) as clients:
            for done in [clients.submit(self.poll, path, count // CLIENTS) for _ in range(CLIENTS)]:
                done.result()
        return count // CLIENTS * CLIENTS / max(tree_seconds(self.pid) - before, 0.01)

    def poll(self, path: str, count: int) -> None:
        """Ask so many times on one connection; RuntimeError unless every answer is 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        for _ in range(count):
            connection.request("GET", path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise RuntimeError(f"{path} answered {response.status}")
        connection.close()


@contextmanager
def _served(app: str, database_url: str, directory: str) -> Iterator[Server]:
    port = free_port()
    argv = [sys.executable, "-m", "gunicorn", f"benchmarks.health_apps:{app}"]
    argv += ["--config", "kvb/app/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    argv += ["--access-logfile", "/dev/null", "--log-level", "warning"]
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, "APP_VERSION": "1.2.3"}
    env |= {"DRAIN_SECONDS": "0", "PYTHONPATH": str(REPOSITORY), "HOME": directory}
    with subprocess.Popen(argv, env=env, cwd=REPOSITORY) as process:
        try:
            server = Server(process.pid, port)
            _wait_for(server)
            yield server
        finally:
            process.terminate()


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return server.poll("/health/", 1)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=4000, help="of the quick kinds, per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--major", type=int, default=15, help="of PostgreSQL; 15")
    return parser.parse_args()


if __name__ == "__main__":
    main()
