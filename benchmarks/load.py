"""An open loop: statements at fixed times, each timed from when it was due, not from when it began."""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import psycopg

CONNECTIONS = 4
PER_SECOND = 400
LATE_SECONDS = 0.1
FRESH_FROM = 1_000_000_000  # numbers that no row has


@dataclass(frozen=True)
class Code:
    """One release of an application: the name of its sessions, and what it sends in turn.

    `%(row)s` is the key of a random row, `%(fresh)s` a number that nobody has used.
    """

    name: str
    statements: Sequence[str]


@dataclass
class Served:
    """What became of the statements; complete after the load has ended.

    `errors` counts what the server said, by the name of the code that was told it. `deploy` makes
    so many of the connections new code's, each of which reconnects for it.
    """

    deploy: Callable[[int], None]
    delays: list[float] = field(default_factory=list)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def longest_ms(self) -> float:
        """The longest delay."""
        return 1000 * max(self.delays, default=0.0)

    def late(self, seconds: float = LATE_SECONDS) -> int:
        """How many statements came later than that."""
        return sum(delay > seconds for delay in self.delays)

    def errors_of(self, code: Code) -> int:
        """How many statements of a release have failed."""
        return sum(number for (name, _), number in self.errors.items() if name == code.name)


@contextmanager
def load(url: str, rows: int, old: Code, new: Code | None = None) -> Iterator[Served]:
    """Send statements on rows 1 to `rows` during the block; what was due by its end is sent yet."""
    context = multiprocessing.get_context("spawn")
    new_ones = context.Value("i", 0)
    served = Served(lambda number: setattr(new_ones, "value", number))
    pipes, processes = [], []
    for number in range(CONNECTIONS):
        ours, theirs = context.Pipe()
        job = (url, rows, (old, new or old), number, new_ones, theirs)
        processes.append(context.Process(target=_work, args=job, daemon=True))
        processes[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()  # is connected
    for pipe in pipes:
        pipe.send("start")
    try:
        yield served
        for pipe in pipes:
            pipe.send("stop")
        for pipe in pipes:
            delays, errors = pipe.recv()
            served.delays += delays
            served.errors += errors
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(
    url: str, rows: int, codes: tuple[Code, Code], number: int, new_ones: Any, pipe: Connection
) -> None:
    delays: list[float] = []
    errors: Counter[tuple[str, str]] = Counter()
    chance, between = random.Random(number), CONNECTIONS / PER_SECOND
    code = codes[0]
    connection = _connect(url, code)
    pipe.send("connected")
    pipe.recv()
    due = time.monotonic() + number * between / CONNECTIONS
    while due < time.monotonic() or not pipe.poll():
        time.sleep(max(0.0, due - time.monotonic()))
        wanted = codes[number < new_ones.value]
        if wanted is not code:
            connection.close()
            code, connection = wanted, _connect(url, wanted)
        count = len(delays)
        fresh = FRESH_FROM * (number + 1) + count
        try:
            connection.execute(
                code.statements[count % len(code.statements)],
                {"row": chance.randint(1, rows), "fresh": fresh},
            )
        except psycopg.Error as error:
            errors[code.name, f"{error.sqlstate} {error.diag.message_primary}"] += 1
        delays.append(time.monotonic() - due)
        due += between
    pipe.send((delays, errors))


def _connect(url: str, code: Code) -> psycopg.Connection:
    """As Django connects: nothing prepared, parameters in the text."""
    return psycopg.connect(
        url,
        autocommit=True,
        application_name=code.name,
        prepare_threshold=None,
        cursor_factory=psycopg.ClientCursor,
    )
