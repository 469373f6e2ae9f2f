"""What commands print, whoever still reads it."""

import os
from collections.abc import Callable

from django.core.management.base import OutputWrapper


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
            text = msg.encode(error.encoding, "backslashreplace").decode(error.encoding)
            super().write(text, style_func, ending)
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
