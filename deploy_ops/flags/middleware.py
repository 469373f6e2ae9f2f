"""Pins the flags' snapshot to each request and gives visitors the id that percentages need."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase

from deploy_ops.flags.store import store
from deploy_ops.flags.visit import Visit, begin_visit, current_visit, finish_visit


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
        visit = begin_visit(request)
        token = current_visit.set(visit)
        try:
            response: HttpResponseBase = self.get_response(request)
        finally:
            current_visit.reset(token)
        finish_visit(visit, response)
        return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        visit = await _begin_async(request)
        token = current_visit.set(visit)
        try:
            response: HttpResponseBase = await self.get_response(request)
        finally:
            current_visit.reset(token)
        finish_visit(visit, response)
        return response


async def _begin_async(request: HttpRequest) -> Visit:
    """Another thread is entered only when the database is asked."""
    if store.is_due():
        return await sync_to_async(begin_visit)(request)
    return begin_visit(request)
