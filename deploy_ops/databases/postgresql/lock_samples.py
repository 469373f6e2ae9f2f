"""Which locks the other sessions of a database hold, and for how long: looked at every few ms."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy_ops.databases.postgresql.server import Connection, Server

EVERY_SECONDS = 0.005
# A table that the transaction itself has made is not in pg_class yet, and nobody waits for it.
_HELD = """
    SELECT relname, mode FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE locktype = 'relation' AND granted AND pid <> pg_backend_pid() AND relation >= 16384
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND relkind IN ('r', 'p', 'm') AND mode = ANY(%s)
"""


@dataclass
class Samples:
    """Spans in which a lock was seen without a gap."""

    spans: dict[tuple[str, str], list[list[float]]] = field(default_factory=dict)

    def add(self, seen: Iterable[tuple[str, str]], now: float, before: float) -> None:
        """Add what was seen now; a span goes on that was seen at the look before."""
        for key in seen:
            spans = self.spans.setdefault(key, [])
            if spans and spans[-1][1] == before:
                spans[-1][1] = now
            else:
                spans.append([now, now])

    def longest(self) -> list[tuple[str, str, float]]:
        """Table, mode and the longest time that it was held at a stretch, in seconds."""
        return [
            (table, mode, round(max(end - start for start, end in spans) + EVERY_SECONDS, 3))
            for (table, mode), spans in self.spans.items()
        ]


@contextmanager
def sampled_locks(server: Server, name: str, modes: Iterable[str]) -> Iterator[Samples]:
    """Look at the locks of all other sessions of database `name` while the block runs."""
    samples, ended = Samples(), threading.Event()
    with server.connect(name, application_name="deploy_ops/locks") as connection:
        looker = threading.Thread(
            target=_look, args=(connection, list(modes), samples, ended), daemon=True
        )
        looker.start()
        try:
            yield samples
        finally:
            ended.set()
            looker.join()


def _look(
    connection: Connection, modes: list[str], samples: Samples, ended: threading.Event
) -> None:
    before = 0.0
    while True:
        is_last = ended.is_set()
        now = time.monotonic()
        samples.add(set(connection.execute(_HELD, [modes]).fetchall()), now, before)
        before = now
        if is_last:
            return
        ended.wait(EVERY_SECONDS)
