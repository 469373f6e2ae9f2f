"""Progress for people: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TerminalProgress:
    """Progress on a terminal as a bar with rate and remaining time, elsewhere as plain lines."""

    def __init__(self, tell: Callable[[str], None], is_terminal: bool, verbosity: int = 1) -> None:
        self._tell = tell
        self._is_terminal = is_terminal
        self._verbosity = verbosity

    def say(self, text: str) -> None:
        """Tell one step."""
        self._tell(text)

    def detail(self, text: str, verbosity: int) -> None:
        """Tell what this much verbosity shows."""
        if self._verbosity >= verbosity:
            self._tell(text)

    @contextmanager
    def track(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Follow bytes done so far; plain lines come at most every ten seconds."""
        if self._is_terminal:
            # Imported here: rich takes longer to load than a command that finds nothing to do.
            from deploy_ops.management.terminal import progress_bar

            with progress_bar() as shown:
                task = shown.add_task(label, total=total_bytes)
                yield lambda done: shown.update(task, completed=done)
        else:
            yield PlainLines(label, total_bytes, self._tell, _spoken_bytes)

    @contextmanager
    def track_rows(self, label: str, total_rows: int) -> Iterator[Callable[[int], None]]:
        """Follow rows done so far; the bar counts on from where an earlier run stopped."""
        if self._is_terminal:
            from deploy_ops.management.terminal import row_bar

            with row_bar() as shown:
                task = shown.add_task(label, total=total_rows)
                yield lambda done: shown.update(task, completed=done)
        else:
            yield PlainLines(label, total_rows, self._tell, _spoken_rows)


class PlainLines:
    """Progress for logs: a line every ten seconds."""

    INTERVAL_SECONDS = 10.0

    def __init__(
        self,
        label: str,
        total: int,
        tell: Callable[[str], None],
        spoken: Callable[[int, int, float], str],
    ) -> None:
        self._label = label
        self._total = total
        self._tell = tell
        self._spoken = spoken
        self._started = self._last_report = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now - self._last_report < self.INTERVAL_SECONDS or done == self._first:
            return
        self._last_report = now
        rate = (done - self._first) / (now - self._started)
        left = max(0, self._total - done) / rate
        spoken = self._spoken(done, self._total, rate)
        self._tell(f"{self._label}: {spoken}, about {left:.0f} s left")


def _spoken_bytes(done: int, total: int, rate: float) -> str:
    return f"{done / 1e6:.0f} of {total / 1e6:.0f} MB, {rate / 1e6:.1f} MB/s"


def _spoken_rows(done: int, total: int, rate: float) -> str:
    return f"{done} of about {max(done, total)} rows, {rate:.0f} rows/s"
