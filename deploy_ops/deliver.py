"""Messages to receivers, each sent once by a thread of its own: nobody waits for a receiver.

A process that ends gives those that are still under way a few seconds, for all of them together.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable

# Once for all that are still under way when the process ends.
LAST_SECONDS = 6.0
logger = logging.getLogger(__name__)
_under_way: set[threading.Thread] = set()


class NotDelivered(Exception):
    """A message was not delivered; what it says is fit for a log: no secret, no text of others."""


def deliver(receiver: str, send: Callable[[], object]) -> None:
    """Let `send` run in the background. NotDelivered is logged with the name of the receiver."""
    thread = threading.Thread(target=_deliver, args=(receiver, send), name=receiver, daemon=True)
    _under_way.add(thread)
    try:
        thread.start()
    except RuntimeError as error:  # no thread can be had
        _under_way.discard(thread)
        logger.warning("%s was not told of an event: %s", receiver, error)


def _deliver(receiver: str, send: Callable[[], object]) -> None:
    try:
        send()
    except NotDelivered as error:
        logger.warning("%s was not told of an event: %s", receiver, error)
    finally:
        _under_way.discard(threading.current_thread())


@atexit.register
def _finish() -> None:
    end = time.monotonic() + LAST_SECONDS
    for thread in tuple(_under_way):
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            logger.warning(
                "%s was perhaps not told of an event: no answer within %g s.",
                thread.name,
                LAST_SECONDS,
            )
