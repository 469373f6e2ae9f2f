"""Pins the flags' snapshot to each request and gives visitors the id that percentages need."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase

from deploy_ops.flags.request_flags import (
    RequestFlags,
    begin_request,
    current_request_flags,
    finish_request,
)
from deploy_ops.flags.store import store


class FlagsMiddleware:
    """Behind the health middleware, and behind UpdateCacheMiddleware where there is one.

    That one has to see the `Vary` that a percentage gives the answer, or it hands out one
    visitor's page to all.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer_async(request)
        request_flags = begin_request(request)
        token = current_request_flags.set(request_flags)
        try:
            response: HttpResponseBase = self.get_response(request)
        finally:
            current_request_flags.reset(token)
        finish_request(request_flags, response)
        return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        request_flags = await _begin_async(request)
        token = current_request_flags.set(request_flags)
        try:
            response: HttpResponseBase = await self.get_response(request)
        finally:
            current_request_flags.reset(token)
        finish_request(request_flags, response)
        return response


async def _begin_async(request: HttpRequest) -> RequestFlags:
    """Another thread is entered only when the database is asked."""
    if store.is_due():
        return await sync_to_async(begin_request)(request)
    return begin_request(request)
