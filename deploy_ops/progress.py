"""How long work tells what it is doing, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Somebody who listens: a terminal, a log, or nobody."""

    def say(self, text: str) -> None:
        """Tell one finished or starting step."""

    def track(self, label: str, total_bytes: int) -> "Tracker":
        """Follow one long piece of work; use as `with progress.track(...) as done: done(bytes)`."""


class Tracker(Protocol):
    """A context manager that yields a function to call with the bytes done so far (absolute)."""

    def __enter__(self) -> Callable[[int], None]: ...

    def __exit__(self, *exc_info: object) -> bool | None: ...


class Silent:
    """Nobody listens."""

    def say(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def track(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Follow nothing."""
        yield lambda done_bytes: None
