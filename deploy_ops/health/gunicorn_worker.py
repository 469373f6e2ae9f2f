"""gunicorn's threaded worker that holds requests without threads. Needs gunicorn; nothing else
needs this.

A request that the middleware holds keeps its thread, and once all threads wait, so do the polls.
Here a held request waits as a connection, as many as there are, and the threads answer polls.
"""

import socket
from collections import deque
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from deploy_ops.health.hold import POLL_SECONDS, Gate, gate_of_this_process
from deploy_ops.health.paths import poll_paths

HELD = object()
REQUEST_LINE_BYTES = 2048
DATA_SECONDS = 1.0


class HoldingWorker(ThreadWorker):  # type: ignore[misc]
    """For gunicorn's setting `worker_class`, in the place of `gthread`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate: Gate | None = None
        self._held: deque[Any] = deque()
        self._polls: frozenset[str] = frozenset()

    def load_wsgi(self) -> None:
        """Load the application, whose settings say whether there is a hold."""
        super().load_wsgi()
        self._polls = frozenset(poll_paths())
        # What is encrypted cannot be told from a poll here: the middleware holds it.
        self._gate = None if self.cfg.is_ssl else gate_of_this_process()

    def handle(self, conn: Any) -> Any:
        """Answer the request of a connection, or put the connection where it waits; in a thread."""
        if self._gate is None or not self._gate.is_closed() or self._is_poll(conn):
            return super().handle(conn)
        self._held.append(conn)
        return HELD

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Look after a connection whose thread is done with it; in the main thread."""
        if fs.cancelled() or fs.exception() or fs.result() is not HELD:
            super().finish_request(conn, fs)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what comes in, and let connections go on when the hold is over."""
        super().wait_for_and_dispatch_events(min(timeout, POLL_SECONDS) if self._held else timeout)
        if self._held and self._gate and not self._gate.is_closed():
            for _ in range(len(self._held)):
                self.enqueue_req(self._held.popleft())

    def _is_poll(self, conn: Any) -> bool:
        """Whether it asks for a poll, or for nothing yet."""
        return not conn.wait_for_data(DATA_SECONDS) or _path(conn.sock) in self._polls


def _path(sock: socket.socket) -> str:
    """The path that is asked for, "" where it does not say, read without taking it."""
    try:
        line = sock.recv(REQUEST_LINE_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:  # it was read before, or the client has gone: gunicorn finds out
        return ""
    _, _, target = line.partition(b" ")
    return target.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
