"""One id per request: in every log line, in the answer, and the proxy's own where it sends one."""

import re
import secrets
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase

HEADER = "X-Request-ID"
# As of nginx ($request_id), AWS or a UUID. Anything else could fill the log, or forge a line.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=:;-]{0,127}")

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]

request_id: ContextVar[str | None] = ContextVar("kvb_request_id", default=None)


class RequestIdMiddleware:
    """Names the request before anything else can log about it."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response: Callable[[HttpRequest], Any] = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        name = _name_of(request)
        request_id.set(name)
        if self._is_async:
            return self._answer_later(request, name)
        return _marked(self.get_response(request), name)

    async def _answer_later(self, request: HttpRequest, name: str) -> HttpResponseBase:
        return _marked(await self.get_response(request), name)


@receiver(request_finished, dispatch_uid="kvb.request_id")
def forget_request_id(**_signal: Any) -> None:
    """Not at the end of the middleware: Django logs a 404 after it, and a stream runs after it."""
    request_id.set(None)


def _name_of(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    return given if _SANE.fullmatch(given) else secrets.token_hex(16)


def _marked(response: HttpResponseBase, name: str) -> HttpResponseBase:
    response.headers[HEADER] = name
    return response
