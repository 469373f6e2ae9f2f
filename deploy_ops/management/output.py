"""What commands print, whoever still reads it."""

import os
from collections.abc import Callable

from django.core.management.base import OutputWrapper


def printable(text: str) -> str:
    """The text with controls escaped: what others have written must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def spelled(text: str, encoding: str | None) -> str:
    """The text as it can be printed: what the encoding does not have becomes its escape too."""
    return _escaped(printable(text), encoding or "utf-8")


def _escaped(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


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
