"""Feature flags beside django-waffle (locmem) and django-flags: a warm check, and a toggle.

The peers run in the same process and round by round on the same PostgreSQL. A toggle is timed from
its commit until two other processes, which ask all the time, have seen it.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from timeit import Timer

import django

from benchmarks.machine import describe_machine
from benchmarks.pairs import Ratio, by_round, print_ratios, print_table
from tests.clusters import PostgresCluster

PEERS = ("django-waffle", "django-flags")
PEER_NAMES = ("waffle", "django-flags")
CALLS, BATCHES = 20_000, 50
POLL_SECONDS = 1.0
ON_OFF, SHARE = "deploy_ops, on for everybody", "deploy_ops, percentage, user"
FIRST, LOOKUP = (
    "deploy_ops, percentage, user seen for the first time",
    "look-up in a dict by a function",
)
# One warm check of each kind, as text: a function around it would cost half as much as ours.
CHECKS = {
    ON_OFF: "flag_enabled('switched', request)",
    "deploy_ops, on for everybody, no request": "flag_enabled('switched')",
    SHARE: "flag_enabled('shared', request)",
    # As AuthenticationMiddleware has users.
    "deploy_ops, percentage, lazy user": "flag_enabled('shared', lazy_request)",
    FIRST: "forget(); flag_enabled('shared', request)",
    LOOKUP: "look_up()",
    "waffle switch": "waffle.switch_is_active('switched')",
    "waffle flag, on for everybody": "waffle.flag_is_active(request, 'switched')",
    "waffle flag, percentage, user": "waffle.flag_is_active(request, 'shared')",
    "django-flags, request": "peer_enabled('switched', request=request)",
    "django-flags, settings": "peer_enabled('in_settings')",
    "django-flags, database": "peer_enabled('switched')",
}


def main() -> None:
    """Measure and print."""
    options = _options()
    cluster = PostgresCluster(options.major).start()
    try:
        os.environ["DATABASE_URL"] = cluster.create_database()
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.flags_settings"
        django.setup()
        _prepare()
        with tempfile.TemporaryDirectory() as directory:
            program = str(cluster.bindir / "postgres")
            lines = describe_machine(Path(directory), [program])
        lines.append(", ".join(f"{name} {version(name)}" for name in PEERS))
        print("\n".join(lines), flush=True)
        times, queries = _measure_checks(options.rounds)
        delays = _measure_toggles(options.toggles)
        print_ratios("Goals", _goals(times, queries, delays))
    finally:
        cluster.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--toggles", type=int, default=50)
    parser.add_argument("--major", type=int, default=15, help="of PostgreSQL; 15")
    return parser.parse_args()


def _prepare() -> None:
    """Tables, and in each package a flag that is on for everybody and one for half of them."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from flags.models import FlagState
    from waffle.models import Flag, Switch

    call_command("migrate", verbosity=0)
    User.objects.create_user("anna")
    Switch.objects.create(name="switched", active=True)
    Flag.objects.create(name="switched", everyone=True)
    Flag.objects.create(name="shared", percent=50)
    FlagState.objects.create(name="switched", condition="boolean", value="True")
    _change("switched", everyone=True)
    _change("shared", percentage=50)


def _change(name: str, **rules: object) -> None:
    from decimal import Decimal

    from deploy_ops.flags.change import Source, change_flag, stored_rules
    from deploy_ops.flags.rules import Rules

    if "percentage" in rules:
        rules["percentage"] = Decimal(rules["percentage"])
    revision = stored_rules(name)[1]
    change_flag(
        name, Rules(**rules), expected_revision=revision, by="benchmark", source=Source.CODE
    )


def _names() -> dict[str, object]:
    """What CHECKS are about; every package has what its middleware would give it."""
    import flags.state
    import waffle
    from django.contrib.auth.models import User
    from django.test import RequestFactory
    from django.utils.functional import SimpleLazyObject

    from deploy_ops.flags.evaluation import flag_enabled
    from deploy_ops.flags.request_flags import begin_request
    from deploy_ops.flags.rollout import bucket_of

    request, lazy_request = RequestFactory().get("/"), RequestFactory().get("/")
    request.user = user = User.objects.get(username="anna")
    lazy_request.user = SimpleLazyObject(lambda: user)
    states = dict(begin_request(request).snapshot.states)
    begin_request(lazy_request)
    return {
        "flag_enabled": flag_enabled,
        "forget": bucket_of.cache_clear,
        "lazy_request": lazy_request,
        "look_up": lambda: states.get("shared"),
        "peer_enabled": flags.state.flag_enabled,
        "request": request,
        "waffle": waffle,
    }


def _measure_checks(rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Microseconds a check, round by round; and the queries of 100 checks."""
    names = _names()
    timers = {name: Timer(check, globals=names) for name, check in CHECKS.items()}
    for timer in timers.values():
        timer.timeit(1)  # fills every cache
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            calls = CALLS // 20 if name.startswith(PEER_NAMES) else CALLS
            # Others work on the machine: of many short tries the quickest was disturbed least.
            tries = timer.repeat(3 * BATCHES, calls // BATCHES)
            times[name].append(min(tries) / (calls // BATCHES) * 1e6)
    queries = {name: _queries(timer) for name, timer in timers.items()}
    quickest = min(times[LOOKUP])
    rows = [
        [
            name,
            f"{median(found):.2f}",
            f"{min(found):.2f} to {max(found):.2f}",
            f"{min(found) / quickest:.0f}",
            str(queries[name]),
        ]
        for name, found in times.items()
    ]
    head = ["check", "us, median", "range", "as many look-ups", "queries of 100 checks"]
    print_table("A warm check", head, rows)
    return times, queries


def _queries(timer: Timer) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        timer.timeit(100)
    return len(captured)


def _measure_toggles(toggles: int) -> list[float]:
    """Milliseconds until the later one of two processes has seen a toggle."""
    delays = []
    with _reader() as one, _reader() as other:
        for number in range(toggles):
            time.sleep(random.random() * POLL_SECONDS)
            is_on = bool(number % 2)
            _change("switched", everyone=is_on)
            began = time.monotonic()
            answer = f"{'on' if is_on else 'off'} database:everyone"
            waiting = [one, other]
            while waiting:
                waiting = [process for process in waiting if _ask(process) != answer]
                time.sleep(0.002)
            delays.append((time.monotonic() - began) * 1000)
    row = [str(toggles), f"{median(delays):.0f}", f"{min(delays):.0f} to {max(delays):.0f}"]
    print_table("A toggle until two others see it", ["toggles", "ms, median", "range"], [row])
    return delays


@contextmanager
def _reader() -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen([sys.executable, "-m", "tests.deploy_ops.flags.reader"], **pipes) as it:
        assert it.stdout.readline() == "ready\n"
        yield it
        it.stdin.close()


def _ask(process: subprocess.Popen[str]) -> str:
    process.stdin.write("switched\n")
    return process.stdout.readline().strip()


def _goals(
    times: dict[str, list[float]], queries: dict[str, int], delays: list[float]
) -> list[Ratio]:
    """What was promised."""
    ours = times[ON_OFF]
    peers = [name for name in times if name.startswith(PEER_NAMES)]
    return [
        Ratio("on/off check, us", ours, 1.0),
        Ratio("percentage check, us", times[SHARE], 2.0),
        # 2 us where a look-up takes 42 ns, on a machine of any speed.
        *(
            Ratio(f"{name} / look-up", [min(times[name]) / min(times[LOOKUP])], 47)
            for name in (SHARE, FIRST)
        ),
        Ratio("queries of a check between two looks", [queries[ON_OFF] + queries[SHARE]], 0),
        *(
            Ratio(f"{name} / {SHARE if 'percentage' in name else ON_OFF}", values, 25, True)
            for name in peers
            for values in [by_round(times[name], times[SHARE] if "percentage" in name else ours)]
        ),
        Ratio("slowest toggle, ms", [max(delays)], (POLL_SECONDS + 0.1) * 1000),
    ]


if __name__ == "__main__":
    main()
