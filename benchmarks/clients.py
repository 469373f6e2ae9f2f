"""Clients that connect and read one row, over and over, while something happens to the database."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection

import psycopg

CLIENTS = 2
READ = "SELECT bid FROM pgbench_branches LIMIT 1"


@dataclass(frozen=True)
class Served:
    """Times (s, monotonic) at which any client had its row, and at which one was refused."""

    rows: list[float]
    refused: list[float]

    @property
    def longest_gap_ms(self) -> float:
        """Longest time in which no client had its row, whatever the reason."""
        return max(self._gaps())

    @property
    def refused_gap_ms(self) -> float:
        """The same, of the gaps in which a client was refused; 0 if none was."""
        return max(self._gaps(only_refused=True), default=0.0)

    def _gaps(self, only_refused: bool = False) -> Iterator[float]:
        for before, after in pairwise(sorted(self.rows)):
            if not only_refused or any(before <= moment <= after for moment in self.refused):
                yield 1000 * (after - before)


@contextmanager
def clients(url: str) -> Iterator[list[Served]]:
    """Let them work during the block; the list has one item afterwards."""
    context = multiprocessing.get_context("spawn")
    served: list[Served] = []
    pipes, processes = [], []
    for _ in range(CLIENTS):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(url, theirs), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()  # has had its first row
    try:
        yield served
        for pipe in pipes:
            pipe.send("stop")
        parts = [pipe.recv() for pipe in pipes]
        served.append(Served(*(sum(times, []) for times in zip(*parts, strict=True))))
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(url: str, pipe: Connection) -> None:
    rows: list[float] = []
    refused: list[float] = []
    while not pipe.poll():
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(READ).fetchall()
            rows.append(time.monotonic())
            if len(rows) == 1:
                pipe.send("ready")
        except psycopg.Error:
            refused.append(time.monotonic())
    pipe.send((rows, refused))
