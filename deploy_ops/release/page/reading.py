"""Each section is read in a thread of its own, bounded: what hangs or fails harms no other.

As with health checks there is never a second thread for what hangs, and many who look at the page
at once make one reading.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from deploy_ops.health.probe import KEEP, Probe, outcomes

DEADLINE = timedelta(seconds=2)


class Section:
    """One part of the page; `read` returns what its template shows."""

    def __init__(
        self, name: str, title: Any, read: Callable[[], object], *, keep: timedelta = KEEP
    ) -> None:
        self.name = name
        self.title = title
        self.values: object = None
        self._read = read
        self.probe = Probe(
            f"page/{name}", self._refresh, deadline=DEADLINE, keep=keep, is_watched=False
        )

    def _refresh(self) -> None:
        self.values = self._read()


@dataclass(frozen=True, slots=True)
class Shown:
    """A section as it was just read: its values, or why it has none (`problem`)."""

    name: str
    title: Any
    values: Any
    problem: str

    @property
    def template(self) -> str:
        """What shows the values."""
        return f"deploy_ops/operations/{self.name}.html"


def read_all(sections: Iterable[Section]) -> Mapping[str, Shown]:
    """Read all sections at once, by name; takes no longer than the deadline."""
    by_name = {section.name: section for section in sections}
    found = outcomes({name: section.probe for name, section in by_name.items()})
    return {
        name: Shown(name, section.title, section.values, found[name].reason)
        for name, section in by_name.items()
    }
