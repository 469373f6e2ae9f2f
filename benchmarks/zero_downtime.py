"""Changes of a busy table under load: who waits how long, and what fails, with which tool.

400 statements per second on 4 connections, as an application of the old release sends them; after
the change two of the connections are the new release's, then all, and what is to be removed then
goes. Each change starts on a fresh copy of the same table, right after a control in which nothing is
migrated. A statement is late if it came more than 100 ms later than the latest of the control.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import psycopg
from psycopg import sql

from benchmarks.bench_database import Bench, bench
from benchmarks.load import CONNECTIONS, Served, load
from benchmarks.machine import describe_machine
from benchmarks.pairs import print_ratios, print_table
from benchmarks.zero_downtime_changes import (
    CHANGES,
    DEFERRED,
    FILL,
    OURS,
    PLAIN,
    TABLE,
    ZERO,
    Change,
    Written,
)
from benchmarks.zero_downtime_report import CONTROL, HEAD, Outcome, goals, rows, tell
from benchmarks.zero_downtime_tools import DJANGO, Ended, Tool, tools
from tests.clusters import APP_ROLE

BASE, COPY = "bench_base", "bench_copy"
MEMORY = "shared_buffers = 1GB\nautovacuum = off\nautovacuum_naptime = 1s\n"
BLOCKED_SECONDS = 20
# An autovacuum that is at work until somebody makes it give way: ten pages a second.
SLOW_VACUUM = (
    "autovacuum_enabled = on, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
    " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
)
IS_VACUUMED = "SELECT count(*) FROM pg_stat_progress_vacuum"
LOCK_TIMEOUT, DEADLOCK = "canceling statement due to lock timeout", "deadlock detected"


@dataclass(frozen=True)
class Place:
    """The server, the directory for projects, the size of the table, how long a stage takes."""

    made: Bench
    directory: Path
    rows: int
    stage_seconds: float

    def prepare(self, found: dict[str, Tool]) -> None:
        """Make the database that is copied, with the tables of each tool."""
        cluster = self.made.cluster
        cluster.create_database(name=BASE)
        for name, tool in found.items():
            if name in (OURS, DEFERRED):
                argv = ["migrate", "--noinput"] if name == OURS else tool.before
                self._must(tool.run(self._project(tool, f"base-{name}", []), argv, cluster, BASE))
        for statement in FILL:
            cluster.execute(statement, [self.rows] if "%s" in statement else None, dbname=BASE)
        cluster.execute(f"ALTER TABLE {TABLE} SET (autovacuum_enabled = off)", dbname=BASE)
        # deploy_ops has been there for a day, not for seconds: only then it knows who is alive.
        cluster.execute(
            "UPDATE django_migrations SET applied = now() - interval '1 day'", dbname=BASE
        )
        cluster.execute("VACUUM (FREEZE, ANALYZE)", dbname=BASE)

    def control(self, change: Change) -> Outcome:
        """The same statements of old code, and a command that migrates nothing."""
        old = change.codes(PLAIN)[0]
        project = self._project(DJANGO, f"control-{change.title}", [])
        url = self._copy()
        with load(url, self.rows, old, old) as served:
            time.sleep(self.stage_seconds)
            ended = DJANGO.run(project, DJANGO.before, self.made.cluster, COPY)
            self._deploy(served)
        return Outcome(served, (old, old), [ended])

    def measure(self, change: Change, name: str, tool: Tool) -> Outcome:
        """One change by one tool."""
        cluster, codes = self.made.cluster, change.codes(name)
        project = self._project(tool, f"{name}-{change.title}", change.migrations[name])
        url, log = self._copy(), cluster.directory / "server.log"
        already = len(log.read_text(errors="replace"))
        ended = []
        with load(url, self.rows, *codes) as served:
            time.sleep(self.stage_seconds)
            with self._obstacle(change, url):
                ended.append(tool.run(project, tool.before, cluster, COPY))
            if ended[0].code:
                time.sleep(2 * self.stage_seconds)  # not deployed: old code goes on
            else:
                self._deploy(served)
                if tool.after:
                    ended.append(tool.run(project, tool.after, cluster, COPY))
                    time.sleep(self.stage_seconds)
        said = log.read_text(errors="replace")[already:]
        return Outcome(served, codes, ended, said.count(LOCK_TIMEOUT), said.count(DEADLOCK))

    def _deploy(self, served: Served) -> None:
        for number in (CONNECTIONS // 2, CONNECTIONS):
            served.deploy(number)
            time.sleep(self.stage_seconds)

    def _copy(self) -> str:
        cluster = self.made.cluster
        cluster.drop_databases(COPY)
        names = map(sql.Identifier, (COPY, BASE, APP_ROLE))
        copy = "CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY"
        cluster.execute(sql.SQL(copy).format(*names))
        self.made.checkpoint()
        return cluster.url(COPY)

    def _project(self, tool: Tool, name: str, migrations: Sequence[Written]) -> Path:
        directory = self.directory / name.replace(" ", "_")
        tool.write(directory, migrations)
        return directory

    def _obstacle(self, change: Change, url: str) -> AbstractContextManager[None]:
        if change.blocked:
            return _reader(url)
        return self._autovacuum(change.granted) if change.vacuumed else nullcontext()

    @contextmanager
    def _autovacuum(self, is_granted: bool) -> Iterator[None]:
        execute = self.made.cluster.execute
        words = ("GRANT", "TO") if is_granted else ("REVOKE", "FROM")
        execute(f"{words[0]} SET ON PARAMETER deadlock_timeout {words[1]} {APP_ROLE}")
        execute(f"ALTER TABLE {TABLE} SET ({SLOW_VACUUM})", dbname=COPY)
        execute(f"UPDATE {TABLE} SET customer = 8 WHERE id <= 1000", dbname=COPY)
        execute("ALTER SYSTEM SET autovacuum = on")
        execute("SELECT pg_reload_conf()")
        try:
            deadline = time.monotonic() + 60
            while not execute(IS_VACUUMED)[0][0]:
                if time.monotonic() > deadline:
                    raise SystemExit("no autovacuum has begun within a minute")
                time.sleep(0.05)
            yield
        finally:
            execute("ALTER SYSTEM SET autovacuum = off")
            execute("SELECT pg_reload_conf()")

    def _must(self, ended: Ended) -> None:
        if ended.code:
            raise SystemExit(ended.output)


@contextmanager
def _reader(url: str) -> Iterator[None]:
    """Somebody who has read one row and leaves the transaction open for 20 seconds."""
    with psycopg.connect(url, application_name="psql") as connection:
        connection.execute(f"SELECT FROM {TABLE} LIMIT 1")
        timer = Timer(BLOCKED_SECONDS, connection.rollback)
        timer.start()
        yield
        timer.join()


def main() -> None:
    """Measure and print."""
    options, started = _options(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench_") as name:
        directory = Path(name)
        (directory / "postgresql").mkdir()
        found = tools(directory, options.tools)
        with bench(directory / "postgresql", options.major, MEMORY) as made:
            print("\n".join(describe_machine(directory, [str(made.program("postgres"))])))
            place = Place(made, directory, options.rows, options.stage_seconds)
            place.prepare(found)
            outcomes = dict(_measure(place, found, options))
    print_table(f"{options.rows} rows", HEAD, list(rows(outcomes, found)))
    print_ratios("Goals", goals(outcomes))
    print(f"All of it took {(time.monotonic() - started) / 60:.0f} minutes.")


def _measure(
    place: Place, found: dict[str, Tool], options: argparse.Namespace
) -> Iterator[tuple[str, dict[str, Outcome]]]:
    for name in options.changes:
        change = CHANGES[name]
        outcomes = {CONTROL: place.control(change)}
        tell(name, CONTROL, outcomes[CONTROL], outcomes[CONTROL])
        for tool in (each for each in found if each in options.tools and each in change.migrations):
            outcomes[tool] = place.measure(change, tool, found[tool])
            tell(name, tool, outcomes[tool], outcomes[CONTROL])
        yield name, outcomes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--changes", type=_names(CHANGES), default=list(CHANGES))
    names = (PLAIN, ZERO, DEFERRED, OURS)
    parser.add_argument("--tools", type=_names(names), default=list(names))
    parser.add_argument("--stage-seconds", type=float, default=0.7)
    parser.add_argument("--major", type=int, default=15)
    return parser.parse_args()


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A list of names with commas between."""

    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"{unknown} not in {', '.join(known)}")
        return given

    return names


if __name__ == "__main__":
    main()
