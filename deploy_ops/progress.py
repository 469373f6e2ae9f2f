"""How long work tells what it is doing, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol


class Progress(Protocol):
    """Somebody who listens: a terminal, a log, or nobody."""

    def say(self, text: str) -> None:
        """Tell one finished or starting step."""

    def detail(self, text: str, verbosity: int) -> None:
        """Tell what is only shown from so much `--verbosity` on, 2 or 3."""

    def track(self, label: str, total_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
        """Follow one long piece of work: `with progress.track(...) as report: report(bytes)`.

        The bytes are those done so far, not since the last call.
        """

    def track_rows(
        self, label: str, total_rows: int
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Follow work on rows alike; the total is an estimate."""


class Silent:  # pylint: disable=unused-argument  # nobody looks at what nobody hears
    """Nobody listens."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def detail(self, text: str, verbosity: int) -> None:
        """Say nothing."""

    @contextmanager
    def track(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Follow nothing."""
        yield lambda done_bytes: None

    @contextmanager
    def track_rows(self, label: str, total_rows: int) -> Iterator[Callable[[int], None]]:
        """Follow nothing."""
        yield lambda done_rows: None


# Django's operations are called by Django, which hands no listener on.
_listener: ContextVar[Progress] = ContextVar("listener", default=Silent())


def listener() -> Progress:
    """Whoever listens to the command that runs."""
    return _listener.get()


@contextmanager
def listening(progress: Progress) -> Iterator[None]:
    """Let `listener` return this one meanwhile."""
    token = _listener.set(progress)
    try:
        yield
    finally:
        _listener.reset(token)
