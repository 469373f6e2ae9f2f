"""What a hold file costs a request that nothing holds: HealthMiddleware without one and with one."""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from timeit import Timer
from typing import Any

import django

from benchmarks.machine import describe_machine
from benchmarks.pairs import Ratio, print_ratios, print_table

CALLS = 50_000
GOAL_MICROSECONDS = 10.0
WITHOUT, ALONE, AMONG = "without a hold file", "with one, alone", "with one, others in flight"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "kvb.app.settings_test"
    django.setup()
    with tempfile.TemporaryDirectory() as directory:
        print("\n".join(describe_machine(Path(directory), [])), flush=True)
        times = measure(Path(directory, "hold"), options.rounds)
    print_table(
        "One request",
        ["request", "µs", "range"],
        [
            [name, f"{median(each):.2f}", f"{min(each):.2f} to {max(each):.2f}"]
            for name, each in times.items()
        ],
    )
    goals = [
        Ratio(f"µs more: {name}", more(times, name), GOAL_MICROSECONDS) for name in (ALONE, AMONG)
    ]
    print_ratios("Goals", goals)


def measure(path: Path, rounds: int) -> dict[str, list[float]]:
    """Microseconds of one request through the middleware alone, round by round."""
    from django.test import RequestFactory, override_settings

    from deploy_ops.health.hold import gate_of_this_process
    from deploy_ops.health.middleware import HealthMiddleware

    request = RequestFactory().get("/")
    without = HealthMiddleware(lambda _request: Response())
    with override_settings(DEPLOY_OPS_HOLD_FILE=path):
        held, gate = HealthMiddleware(lambda _request: Response()), gate_of_this_process()
    assert gate is not None
    times: dict[str, list[float]] = {WITHOUT: [], ALONE: [], AMONG: []}
    for _ in range(rounds):
        times[WITHOUT].append(_microseconds(without, request))
        times[ALONE].append(_microseconds(held, request))
        gate.enter()
        times[AMONG].append(_microseconds(held, request))
        gate.leave()
    return times


class Response:
    """As little of one as there can be."""

    def close(self) -> None:
        """Nothing."""


def _microseconds(middleware: Any, request: Any) -> float:
    timer = Timer(lambda: middleware(request).close())
    return timer.timeit(CALLS) / CALLS * 1e6


def more(times: Mapping[str, list[float]], name: str) -> list[float]:
    """What one takes longer than without, within each round."""
    return [one - other for one, other in zip(times[name], times[WITHOUT], strict=True)]


if __name__ == "__main__":
    main()
