"""How long work tells what it is doing, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Somebody who listens: a terminal, a log, or nobody."""

    def say(self, text: str) -> None:
        """Tell one finished or starting step."""

    def track(self, label: str, total_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
        """Follow one long piece of work: `with progress.track(...) as report: report(bytes)`.

        The bytes are those done so far, not since the last call.
        """


class Silent:  # pylint: disable=unused-argument  # nobody looks at what nobody hears
    """Nobody listens."""

    def say(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def track(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Follow nothing."""
        yield lambda done_bytes: None
