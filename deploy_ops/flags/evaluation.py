"""How code asks: flag_enabled, the decorator and the mixin. The template tag asks here too."""

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core import mail
from django.http import Http404, HttpRequest
from django.views.generic import View

from deploy_ops.errors import UnknownFlag
from deploy_ops.flags.person import person_of
from deploy_ops.flags.request_flags import REQUEST_FLAGS, RequestFlags, pinned_snapshot
from deploy_ops.flags.state import Evaluation, Origin, Person, because

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("deploy_ops.flags")
_reported: set[str] = set()

# What tests force (deploy_ops.flags.testing); a context variable, so that tests stay apart.
overrides: ContextVar[Mapping[str, bool] | None] = ContextVar("deploy_ops_flags", default=None)


def flag_enabled(name: str, request: HttpRequest | None = None, user: Any = None) -> bool:
    """Is the flag on for this user, by default the request's?

    Without a request and a user only what holds for everybody is on. UnknownFlag for a name that
    is not declared in DEBUG and in tests; in production that is logged once, and False.
    """
    # The way of most checks on a page, with no call more than needed: nothing is forced by a test.
    request_flags: RequestFlags | None = getattr(request, REQUEST_FLAGS, None)
    if request_flags is not None and not overrides.get():
        state = request_flags.snapshot.states.get(name)
        if state is not None:
            if state.fixed:
                return state.fixed.enabled
            return state.evaluate(person_of(request, user)).enabled
    return evaluate_flag(name, request, user).enabled


async def aflag_enabled(name: str, request: HttpRequest | None = None, user: Any = None) -> bool:
    """The same for coroutines, which may not wait for the database themselves."""
    return await sync_to_async(flag_enabled)(name, request, user)


def evaluate_flag(name: str, request: HttpRequest | None = None, user: Any = None) -> Evaluation:
    """Like flag_enabled, with the reason."""
    if (forced := overrides.get()) and name in forced:
        return because(forced[name], Origin.OVERRIDE)
    state = pinned_snapshot(request).states.get(name)
    if state is None:
        return _evaluate_unknown(name)
    return state.fixed or state.evaluate(person_of(request, user))


def evaluate_person(name: str, person: Person) -> Evaluation | None:
    """The answer for somebody who is known otherwise; None for a flag that is not declared."""
    if (forced := overrides.get()) and name in forced:
        return because(forced[name], Origin.OVERRIDE)
    state = pinned_snapshot(None).states.get(name)
    return None if state is None else state.evaluate(person)


def flag_required(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a view, sync or async: 404 unless the flag is on for the request's user."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                _refuse_unless(await aflag_enabled(name, _request_in(args)), name)
                return await view(*args, **kwargs)

            return guarded_async  # type: ignore[return-value]

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            _refuse_unless(flag_enabled(name, _request_in(args)), name)
            return view(*args, **kwargs)

        return guarded

    return decorate


class FlagRequiredMixin(View):
    """For class-based views, sync or async: 404 unless the flag named in `flag` is on."""

    flag: str

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Ask first."""
        if self.view_is_async:
            return self._dispatch_async(request, *args, **kwargs)
        _refuse_unless(flag_enabled(self.flag, request), self.flag)
        return super().dispatch(request, *args, **kwargs)

    async def _dispatch_async(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _refuse_unless(await aflag_enabled(self.flag, request), self.flag)
        return await super().dispatch(request, *args, **kwargs)  # type: ignore[misc]


def _evaluate_unknown(name: str) -> Evaluation:
    message = f"{name!r} is not declared in DEPLOY_OPS_FLAGS, so it is off."
    # Django's test runners set up the outbox, and nothing else does.
    if settings.DEBUG or hasattr(mail, "outbox"):
        raise UnknownFlag(message)
    if name not in _reported:
        _reported.add(name)
        _log.error(message)
    return Evaluation(False, "unknown")


def _refuse_unless(is_on: bool, name: str) -> None:
    if not is_on:
        raise Http404(f"the flag {name} is off")


def _request_in(args: tuple[Any, ...]) -> HttpRequest:
    request: HttpRequest = args[0]
    return request
