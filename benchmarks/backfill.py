"""`backfill run` beside one UPDATE of all rows, and beside django-deferred-migrations' backfill.

Rows per second, and how late others are meanwhile. All write the same column of a table of trips
with an index. The rate of a backfill is that from its first batch to its last; start-up of Python
and Django is left out. The peer is called as its operations call it, with its own settings.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.bench_database import Bench, bench
from benchmarks.load import LATE_SECONDS, Code, load
from benchmarks.machine import describe_machine
from benchmarks.pairs import Ratio, by_round, print_ratios, print_table, run
from benchmarks.peers import DEFERRED, make_environment
from tests.project.runner import DJANGO

APP = "fills_in_batches"
TABLE = f"{APP}_trip"
NAME = f"{APP}.0004_detached#0"
FILL = f"INSERT INTO {TABLE} (purpose, km) SELECT 'trip ' || n, n FROM generate_series(1, %s) AS n"
SET, WHERE = "m = m + n + 1", "km > 0"
UPDATE = f"UPDATE {TABLE} SET {SET} WHERE {WHERE}"
OTHERS = Code(
    "others",
    (
        f"SELECT purpose, km, n FROM {TABLE} WHERE id = %(row)s",
        f"UPDATE {TABLE} SET purpose = 'changed' WHERE id = %(row)s",
    ),
)
# Called with the URL's parts in the environment; prints the seconds.
PEER = f"""
import os, time, django
from django.conf import settings
keys = {{"NAME", "USER", "HOST", "PORT"}}
database = {{key: os.environ[key] for key in keys}} | {{"ENGINE": "django.db.backends.postgresql"}}
settings.configure(DATABASES={{"default": database}}, INSTALLED_APPS=["deferred_migrations"])
django.setup()
from django.db import connection
from deferred_migrations.backfill import run_batched_update
connection.ensure_connection()
started = time.monotonic()
run_batched_update(connection, "{TABLE}", "id", "{SET}", "{WHERE}", "peer")
print("seconds", time.monotonic() - started)
"""
AGAIN = """
    UPDATE deploy_ops_backfillprogress SET started_at = NULL, done_at = NULL, cursor = NULL,
        upper = NULL, rows_total = 0, rows_read = 0, rows_written = 0
"""
SECONDS = """
    SELECT extract(epoch FROM max(done_at) - max(started_at))::float8, max(rows_written)
    FROM deploy_ops_backfillprogress
"""


@dataclass(frozen=True)
class Outcome:
    """What one way of writing all rows came to."""

    rows_per_second: float
    peak_mb: float
    delays: list[float] = field(default_factory=list)

    @property
    def longest_ms(self) -> float:
        """The longest delay of a statement of others."""
        return 1000 * max(self.delays, default=0.0)

    @property
    def late(self) -> int:
        """How many statements of others were late."""
        return sum(delay > LATE_SECONDS for delay in self.delays)


@dataclass(frozen=True)
class Place:
    """The server and how many rows the table has."""

    made: Bench
    rows: int
    peer_python: Path | None

    def prepare(self) -> None:
        """Migrate up to the backfill, which a worker is to do."""
        project = self.made.project.with_apps(APP)
        project.run("migrate", APP, "0001", check=0)
        project.run("migrate", APP, "0003", "--fake", check=0)
        project.run("migrate", APP, check=0)

    def refill(self) -> None:
        """The table as new, and nothing of the backfill done."""
        database = self.made.project.database
        database.execute(f"TRUNCATE {TABLE} RESTART IDENTITY")
        database.execute(f"CREATE INDEX IF NOT EXISTS trip_km ON {TABLE} (km)")
        database.execute(FILL, [self.rows])
        database.execute(f"VACUUM (ANALYZE) {TABLE}")
        database.execute(AGAIN)
        self.made.checkpoint()

    def measure(self, job: Callable[["Place"], tuple[float, float]], under_load: bool) -> Outcome:
        """Do it on a new table, alone or beside others."""
        self.refill()
        url = self.made.project.database.url
        if not under_load:
            seconds, peak_mb = job(self)
            return Outcome(self.rows / seconds, peak_mb)
        with load(url, self.rows, OTHERS) as served:
            seconds, peak_mb = job(self)
        return Outcome(self.rows / seconds, peak_mb, served.delays)


def one_update(place: Place) -> tuple[float, float]:
    """Everything in one statement."""
    started = time.monotonic()
    place.made.project.database.execute(UPDATE)
    return time.monotonic() - started, 0.0


def control(_place: Place) -> tuple[float, float]:
    """Nothing, for some seconds."""
    time.sleep(5)
    return 5.0, 0.0


def worker(place: Place) -> tuple[float, float]:
    """One worker."""
    return _run_workers(place, 1)


def two_workers(place: Place) -> tuple[float, float]:
    """Two at once."""
    return _run_workers(place, 2)


def peer(place: Place) -> tuple[float, float]:
    """The backfill of django-deferred-migrations, which knows one worker."""
    server = place.made.env
    where = {"HOST": server["PGHOST"], "PORT": server["PGPORT"], "USER": server["PGUSER"]}
    env = {"PATH": server["PATH"], "NAME": place.made.name, **where}
    cost = run([place.peer_python, "-c", PEER], env)
    [seconds] = [line.split()[1] for line in cost.output.splitlines() if line.startswith("seconds")]
    return float(seconds), cost.peak_mb


def _run_workers(place: Place, number: int) -> tuple[float, float]:
    argv = [DJANGO[0], *DJANGO[3:], "backfill", "run", NAME]
    children = [
        subprocess.Popen(argv, env=place.made.project.env, stdout=subprocess.DEVNULL)
        for _ in range(number)
    ]
    peaks = []
    for child in children:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        peaks.append(usage.ru_maxrss / 1024)
    if any(child.returncode for child in children):
        raise SystemExit("a worker failed")
    [(seconds, written)] = place.made.project.database.query(SECONDS)
    if written != place.rows:
        raise SystemExit(f"{written} of {place.rows} rows were written")
    return seconds, max(peaks)


JOBS = {
    "one UPDATE": (one_update, False),
    "one worker": (worker, False),
    "two workers": (two_workers, False),
    "nothing, under load": (control, True),
    "one UPDATE, under load": (one_update, True),
    "one worker, under load": (worker, True),
}
PEER_JOBS = {
    "django-deferred-migrations": (peer, False),
    "django-deferred-migrations, under load": (peer, True),
}


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench_") as directory:
        below = Path(directory) / "postgresql"
        below.mkdir()
        with bench(below, options.major) as made:
            print("\n".join(describe_machine(Path(directory), [str(made.program("postgres"))])))
            peer_python = None if options.no_peer else make_environment(Path(directory), DEFERRED)
            place = Place(made, options.rows, peer_python)
            place.prepare()
            jobs = JOBS | (PEER_JOBS if peer_python else {})
            outcomes: dict[str, list[Outcome]] = {name: [] for name in jobs}
            for number in range(options.rounds):
                for name, (job, under_load) in jobs.items():
                    outcome = place.measure(job, under_load)
                    outcomes[name].append(outcome)
                    print(f"round {number + 1}: {name}: {outcome.rows_per_second:.0f} rows/s")
    print_table("Ways", HEAD, [_cells(name, found) for name, found in outcomes.items()])
    print_ratios("Goals", _goals(outcomes))


HEAD = ["way", "rows/s, median", "peak MB", "statements of others", "longest ms", "over 100 ms"]


def _cells(name: str, found: list[Outcome]) -> list[str]:
    return [
        name,
        (
            ""
            if name.startswith("nothing")
            else f"{median(each.rows_per_second for each in found):.0f}"
        ),
        f"{max(each.peak_mb for each in found):.0f}",
        str(sum(len(each.delays) for each in found)),
        f"{max(each.longest_ms for each in found):.0f}",
        str(sum(each.late for each in found)),
    ]


def _goals(outcomes: dict[str, list[Outcome]]) -> list[Ratio]:
    rates = {name: [each.rows_per_second for each in found] for name, found in outcomes.items()}
    late = [float(each.late) for each in outcomes["one worker, under load"]]
    beside_peer = [
        Ratio(
            f"rows/s: {ours} / {theirs}", by_round(rates[ours], rates[theirs]), 1.3, at_least=True
        )
        for ours, theirs in zip(("one worker", "one worker, under load"), PEER_JOBS, strict=True)
        if theirs in rates
    ]
    return [
        Ratio(
            "rows/s: one worker / one UPDATE",
            by_round(rates["one worker"], rates["one UPDATE"]),
            0.7,
            at_least=True,
        ),
        Ratio(
            "rows/s: two workers / one worker",
            by_round(rates["two workers"], rates["one worker"]),
            1.0,
            at_least=True,
        ),
        *beside_peer,
        Ratio("statements of others over 100 ms beside one worker", late, 0),
        Ratio("peak memory of a worker, MB", [e.peak_mb for e in outcomes["one worker"]], 70),
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true", help="without django-deferred-migrations")
    parser.add_argument("--major", type=int, default=15)
    return parser.parse_args()


if __name__ == "__main__":
    main()
