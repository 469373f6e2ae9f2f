"""An open loop: statements at fixed times, each timed from when it was due, not from when it began."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import psycopg

CONNECTIONS = 4
PER_SECOND = 400
LATE_SECONDS = 0.1


@contextmanager
def load(url: str, read: str, write: str, rows: int) -> Iterator[list[float]]:
    """Read and write random rows (1 to `rows`) in turn; the list has the delays afterwards."""
    context = multiprocessing.get_context("spawn")
    delays: list[float] = []
    pipes, processes = [], []
    for number in range(CONNECTIONS):
        ours, theirs = context.Pipe()
        job = (url, (read, write), rows, number, theirs)
        processes.append(context.Process(target=_work, args=job, daemon=True))
        processes[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()  # is connected
    for pipe in pipes:
        pipe.send("start")
    try:
        yield delays
        for pipe in pipes:
            pipe.send("stop")
        for pipe in pipes:
            delays += pipe.recv()
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(url: str, statements: tuple[str, str], rows: int, number: int, pipe: Connection) -> None:
    delays: list[float] = []
    chance, between = random.Random(number), CONNECTIONS / PER_SECOND
    with psycopg.connect(url, autocommit=True) as connection:
        pipe.send("connected")
        pipe.recv()
        due = time.monotonic() + number * between / CONNECTIONS
        while not pipe.poll():
            time.sleep(max(0.0, due - time.monotonic()))
            connection.execute(statements[len(delays) % 2], [chance.randint(1, rows)])
            delays.append(time.monotonic() - due)
            due += between
    pipe.send(delays)
