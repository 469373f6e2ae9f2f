"""Peers side by side: A B A B, several rounds, and ratios within each round.

The ratio of two medians compares runs that had different neighbours on the machine; a ratio
within a round compares runs of the same minute. So the median is taken of the ratios.
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.machine import busy_seconds, tree_seconds


@dataclass(frozen=True)
class Cost:
    """What one run of a program cost, its children included.

    `peak_mb` is the largest resident size of any one process, or that of this script if it is
    larger (a process inherits the size of the one that starts it, until it grows beyond);
    `others_percent` is the share of all processors that neither the program nor the server used.
    """

    wall_seconds: float
    cpu_seconds: float
    server_seconds: float
    peak_mb: float
    others_percent: float
    output: str = field(repr=False)


def run(argv: Sequence[object], env: Mapping[str, str], server_pid: int | None = None) -> Cost:
    """Run a program to its end and measure it; SystemExit with what it said if it fails."""
    words = list(map(str, argv))
    busy, server = busy_seconds(), tree_seconds(server_pid) if server_pid else 0.0
    started = time.monotonic()
    with subprocess.Popen(
        words,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)}\nended with {child.returncode}:\n{output}")
    cpu = usage.ru_utime + usage.ru_stime
    server = tree_seconds(server_pid) - server if server_pid else 0.0
    others = max(0.0, busy_seconds() - busy - cpu - server) / wall / (os.cpu_count() or 1)
    return Cost(wall, cpu, server, usage.ru_maxrss / 1024, 100 * others, output)


@dataclass(frozen=True)
class Ratio:
    """A ratio of every round, and what it should be."""

    name: str
    values: list[float]
    goal: float
    at_least: bool = False

    def row(self) -> list[str]:
        """Cells of a table: median, range, goal, and whether the median meets it."""
        middle = median(self.values)
        is_met = middle >= self.goal if self.at_least else middle <= self.goal
        spread = f"{min(self.values):.2f} to {max(self.values):.2f}"
        bound = f"{'at least' if self.at_least else 'at most'} {self.goal}"
        return [self.name, f"{middle:.2f}", spread, bound, "met" if is_met else "missed"]


def interleave(jobs: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Run every job once a round; the costs by job, round by round."""
    costs: dict[str, list[Cost]] = {name: [] for name in jobs}
    for number in range(rounds):
        for name, job in jobs.items():
            cost = job()
            costs[name].append(cost)
            report = f"{cost.wall_seconds:.2f} s, others {cost.others_percent:.0f} %"
            print(f"round {number + 1}: {name}: {report}", flush=True)
    return costs


def by_round(ours: Iterable[float], theirs: Iterable[float]) -> list[float]:
    """Divide round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def walls(costs: Iterable[Cost]) -> list[float]:
    """Wall seconds of every round."""
    return [cost.wall_seconds for cost in costs]


def print_costs(title: str, costs: Mapping[str, list[Cost]]) -> None:
    """Print a table of the jobs."""
    head = ["job", "n", "wall s, median", "range", "quietest (others)", "CPU s, own + server"]
    head += ["peak MB", "others"]
    print_table(title, head, [[name, *_cells(runs)] for name, runs in costs.items()])


def print_ratios(title: str, ratios: Iterable[Ratio]) -> None:
    """Print a table of goals."""
    head = ["ratio", "median", "range", "goal", ""]
    print_table(title, head, [ratio.row() for ratio in ratios])


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown has it."""
    print(f"\n{title}\n")
    for cells in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def _cells(runs: list[Cost]) -> list[str]:
    seconds = walls(runs)
    quietest = min(runs, key=lambda cost: cost.others_percent)
    own = median(cost.cpu_seconds for cost in runs)
    server = median(cost.server_seconds for cost in runs)
    return [
        str(len(runs)),
        f"{median(seconds):.2f}",
        f"{min(seconds):.2f} to {max(seconds):.2f}",
        f"{quietest.wall_seconds:.2f} ({quietest.others_percent:.0f} %)",
        f"{own:.1f} + {server:.1f}",
        _peak(max(cost.peak_mb for cost in runs)),
        f"{median(cost.others_percent for cost in runs):.0f} %",
    ]


def _peak(peak_mb: float) -> str:
    own_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{peak_mb:.0f}" if peak_mb > own_mb else f"under {own_mb:.0f}"
