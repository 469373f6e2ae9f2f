"""What commands print, whoever still reads it."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from django.core.management.base import OutputWrapper


def printable(text: str) -> str:
    """The text with controls escaped: what others have written must not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def spelled(text: str, encoding: str | None) -> str:
    """The text as it can be printed: what the encoding does not have becomes its escape too."""
    return _escaped(printable(text), encoding or "utf-8")


def _escaped(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def stdout_kept_clear() -> Iterator[None]:
    """Send to stderr what anything else prints meanwhile.

    A log handler has kept the stream from when it was made, and programs write to the descriptor.
    """
    with redirect_stdout(sys.stderr), _descriptor_on_stderr():
        yield


@contextmanager
def _descriptor_on_stderr() -> Iterator[None]:
    if sys.__stdout__ is None or sys.__stderr__ is None:  # closed by who started us
        yield
        return
    stdout, stderr = sys.__stdout__.fileno(), sys.__stderr__.fileno()
    own = os.dup(stdout)
    os.dup2(stderr, stdout)
    try:
        yield
    finally:
        with suppress(OSError):  # nobody reads it any more
            sys.__stdout__.flush()
        os.dup2(own, stdout)
        os.close(own)


class LastingOutput(OutputWrapper):
    """An output whose loss ends no work: a reader that has gone, a full disk, another encoding."""

    def __init__(self, wrapped: OutputWrapper) -> None:
        super().__init__(wrapped._out, wrapped.ending)  # type: ignore[arg-type]
        self._style_func = wrapped.style_func

    def write(  # type: ignore[override]
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        """Write; what the encoding does not have is written as its escape."""
        try:
            super().write(msg, style_func, ending)
        except UnicodeEncodeError as error:
            super().write(_escaped(msg, error.encoding), style_func, ending)
        except OSError:
            self._discard()

    def flush(self) -> None:
        """Flush."""
        try:
            super().flush()
        except OSError:
            self._discard()

    def _discard(self) -> None:
        """Discard the rest, with what is buffered; else Python fails on it when it ends."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
