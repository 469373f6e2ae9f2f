"""Ask the collectors as health checks ask: in a thread, bounded, one at a time, and not too often.

A scrape then answers in time whatever a database does, and that matters most when it does not
answer. What could not be read is shown as it was last known, and marked.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from prometheus_client import Metric

from deploy_ops.health.probe import Probe

DEADLINE = timedelta(seconds=1)

Read = Callable[[], Iterable[Metric]]


class Source:
    """What one collector says, read at most every `keep` and process."""

    def __init__(self, name: str, read: Read, keep: timedelta = timedelta(0)) -> None:
        self._read = read
        self._metrics: tuple[Metric, ...] = ()
        self.probe = Probe(f"metrics of {name}", self._refresh, deadline=DEADLINE, keep=keep)

    def __iter__(self) -> Iterator[Metric]:
        """Yield what is known; `probe` tells whether that could just be read."""
        return iter(self._metrics)

    def _refresh(self) -> None:
        self._metrics = tuple(self._read())
