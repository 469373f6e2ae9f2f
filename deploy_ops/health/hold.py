"""The gate that requests pass: counted while they are in flight, and held while a restore swaps."""

import asyncio
import fcntl
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable

from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.hold_file import HoldFile, share_while_in_flight

POLL_SECONDS = 0.01
logger = logging.getLogger("deploy_ops.health")


class Gate:
    """The gate of this process. Between two holds a request costs one fstat.

    The first and the last of those in flight at once cost a flock besides.
    """

    def __init__(self, file: HoldFile, longest_seconds: float) -> None:
        self._file = file
        self._longest_seconds = longest_seconds
        self._lock = threading.Lock()
        self._in_flight = 0
        self._descriptor = file.open_requests()
        self._born = os.fstat(self._descriptor).st_mtime_ns
        self._open_since = 0  # the file's time at the last hold that is over, in nanoseconds
        self._closed_since = 0
        self._closed_until = 0.0
        self._told = ""
        self._thread = threading.local()
        # A lock of flock belongs to the opened file: a child that shared it would free it for all.
        os.register_at_fork(after_in_child=self._begin_anew)

    def is_closed(self) -> bool:
        """Whether requests have to wait: never for longer since this process saw the hold.

        Nor where that cannot be told: to serve is better than not to serve.
        """
        facts = os.fstat(self._descriptor)
        if not facts.st_nlink:
            if not self._follow():
                return True
            facts = os.fstat(self._descriptor)
        since = facts.st_mtime_ns
        if since == self._open_since:
            return False
        with self._lock:
            if since != self._closed_since:
                self._closed_since = since
                self._closed_until = time.monotonic() + self._longest_seconds
            if time.monotonic() < self._closed_until and self._is_held():
                return True
            self._open_since = since
        return False

    def enter(self) -> None:
        """Let a request of this thread in, as soon as nothing holds it."""
        deadline = time.monotonic() + self._longest_seconds
        while not self._try_enter(deadline):
            time.sleep(POLL_SECONDS)
        if getattr(self._thread, "open_since", self._born) != self._open_since:
            _renew_connections()
        self._thread.open_since = self._open_since

    async def aenter(self) -> None:
        """The same in an event loop, where Django keeps no connection from request to request."""
        deadline = time.monotonic() + self._longest_seconds
        while not self._try_enter(deadline):
            await asyncio.sleep(POLL_SECONDS)

    def leave(self) -> None:
        """A request has ended, with all that was to be sent."""
        with self._lock:
            self._in_flight -= 1
            if not self._in_flight:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def leave_when_closed(self, response: HttpResponseBase) -> HttpResponseBase:
        """Count the request until the server closes the response: a body may be read from rows."""
        close = response.close

        def close_and_leave() -> None:
            setattr(response, "close", close)  # a second call has nothing to leave
            try:
                close()
            finally:
                self.leave()

        setattr(response, "close", close_and_leave)
        return response

    def _try_enter(self, deadline: float) -> bool:
        """Count it, and look then: a hold that begins in between waits for its end.

        Past the deadline it goes in, whatever holds it: several holds, or a process that was
        stopped while it asked whether requests are in flight.
        """
        is_late = time.monotonic() > deadline
        with self._lock:
            if not (self._in_flight or share_while_in_flight(self._descriptor) or is_late):
                return False
            self._in_flight += 1
        is_open = False
        try:
            is_open = is_late or not self.is_closed()
        finally:
            if not is_open:
                self.leave()
        return is_open

    def _is_held(self) -> bool:
        try:
            return self._file.is_held()
        except ConfigurationError as error:
            self._tell(error)
            return False

    def _follow(self) -> bool:
        """Go over to the new file, since that which is open was removed.

        False if a restore asks by its lock whether requests are in flight, and some are.
        """
        with self._lock:
            return bool(os.fstat(self._descriptor).st_nlink) or self._open(shared=self._in_flight)

    def _open(self, *, shared: int) -> bool:
        """Put the file by its name in the place of the one that is open, if it can be used."""
        try:
            descriptor = self._file.open_requests()
        except ConfigurationError as error:
            self._tell(error)
            return True
        try:
            if shared and not share_while_in_flight(descriptor):
                return False
            os.dup2(descriptor, self._descriptor, inheritable=False)
            return True
        finally:
            os.close(descriptor)

    def _begin_anew(self) -> None:
        self._lock, self._in_flight = threading.Lock(), 0
        self._open(shared=0)

    def _tell(self, error: ConfigurationError) -> None:
        """Log it, once for as long as it is the same."""
        if str(error) != self._told:
            self._told = str(error)
            logger.error("%s", error)


def passing(
    gate: Gate, get_response: Callable[[HttpRequest], HttpResponseBase]
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Let requests through the gate on their way."""

    def pass_on(request: HttpRequest) -> HttpResponseBase:
        gate.enter()
        try:
            response = get_response(request)
        except BaseException:
            gate.leave()
            raise
        return gate.leave_when_closed(response)

    return pass_on


def apassing(
    gate: Gate, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """The same in an event loop."""

    async def pass_on(request: HttpRequest) -> HttpResponseBase:
        await gate.aenter()
        try:
            response = await get_response(request)
        except BaseException:
            gate.leave()
            raise
        return gate.leave_when_closed(response)

    return pass_on


def _renew_connections() -> None:
    """Close what this thread had open before the hold: the swap has ended those sessions.

    With CONN_HEALTH_CHECKS Django would notice; without, the next query would fail.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
        if (pool := getattr(connection, "pool", None)) is not None:
            pool.check()  # asks each connection that nobody uses


_gates: dict[tuple[str, float], Gate | None] = {}


def gate_of_this_process() -> Gate | None:
    """The gate, where DEPLOY_OPS_HOLD_FILE is set and can be used; one for all who ask."""
    if (path := conf.hold_file) is None:
        return None
    key = str(path), conf.hold_seconds
    if key not in _gates:
        _gates[key] = _made(HoldFile(path), conf.hold_seconds)
    return _gates[key]


def _made(file: HoldFile, longest_seconds: float) -> Gate | None:
    try:
        file.is_held()  # makes it, so that it belongs to the application, whoever restores
        return Gate(file, longest_seconds)
    except ConfigurationError as error:
        # To serve without is better than not to serve. C016 tells it before.
        logger.error("%s", error)
        return None
