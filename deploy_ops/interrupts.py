"""Ctrl-C and SIGTERM: to a command they are the same, and they come too late once its work is done.

What was done has to be told, and a door that was closed has to be opened, whatever comes then.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_blocks: list[None] = []  # one for each `interruptible` that is open


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM (systemd, docker stop) end the block as Ctrl-C does: with its recovery.

    So until `no_more_interrupts` is called. The outermost block gives the handlers back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in SIGNALS}
    if not _blocks:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    _blocks.append(None)
    try:
        yield
    finally:
        _blocks.pop()
        if not _blocks:
            for each, handler in before.items():
                signal.signal(each, handler or signal.SIG_DFL)  # None: not set from Python


def no_more_interrupts() -> None:
    """From here on nobody interrupts; outside of an `interruptible` block nothing changes."""
    if _blocks and threading.current_thread() is threading.main_thread():
        for each in SIGNALS:
            signal.signal(each, _ignore)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A function, since programs would inherit SIG_IGN."""
