"""Answers the polls before anything else of Django has a say."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from deploy_ops.health import answers, paths
from deploy_ops.health.hold import apassing, gate_of_this_process, passing
from deploy_ops.version import code_version

Answer = HttpResponseBase | Awaitable[HttpResponseBase]
POLLS = {
    paths.LIVENESS: answers.LIVENESS,
    paths.CONNECTION: answers.CONNECTION,
    paths.READINESS: answers.READINESS,
}


class HealthMiddleware:
    """The first in MIDDLEWARE, so that no host, SSL, session or metrics code sees a poll.

    A load balancer asks by IP address and plain http: `get_host()` would answer 400 and log it,
    SECURE_SSL_REDIRECT 301. Only the whole path counts. All other requests wait here while a
    restore holds them.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self._get_response = get_response
        self._polls = {path: POLLS[poll] for path, poll in paths.poll_paths().items()}
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        if (gate := gate_of_this_process()) is not None:
            through: Any = apassing if self._is_async else passing
            self._get_response = through(gate, get_response)
        code_version()  # may run git: at the start, and not in the first poll

    def __call__(self, request: HttpRequest) -> Answer:
        """Answer a poll, or pass the request on; a coroutine where Django runs one."""
        poll = self._polls.get(request.path_info)
        if poll is None:
            return self._get_response(request)
        return poll.aanswer(request) if self._is_async else poll.answer(request)
