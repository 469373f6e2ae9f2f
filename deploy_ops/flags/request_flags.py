"""What one request keeps: the snapshot it began with, and the id of a visitor without a login."""

from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

from deploy_ops.flags.state import Snapshot
from deploy_ops.flags.store import store

if TYPE_CHECKING:
    from deploy_ops.flags.person import UserContext

COOKIE = "deploy_ops_visitor"
COOKIE_SECONDS = 365 * 24 * 60 * 60
# The attribute of a request that keeps its RequestFlags.
REQUEST_FLAGS = "_deploy_ops_request_flags"


class RequestFlags:
    """One request as the flags see it; `person` is who asked last."""

    __slots__ = ("snapshot", "person", "visitor_id", "has_asked")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.person: UserContext | None = None
        self.visitor_id: str | None = None
        self.has_asked = False


current_request_flags: ContextVar[RequestFlags | None] = ContextVar(
    "deploy_ops_request_flags", default=None
)


def request_flags_of(request: HttpRequest) -> RequestFlags:
    """The RequestFlags of a request; begun here if no middleware did."""
    request_flags: RequestFlags | None = getattr(request, REQUEST_FLAGS, None)
    if request_flags is None:
        request_flags = current_request_flags.get() or RequestFlags(store.current())
        setattr(request, REQUEST_FLAGS, request_flags)
    return request_flags


def begin_request(request: HttpRequest) -> RequestFlags:
    """Pin the newest snapshot to the request, so that one page never mixes two states."""
    request_flags = RequestFlags(store.current())
    setattr(request, REQUEST_FLAGS, request_flags)
    return request_flags


def pinned_snapshot(request: HttpRequest | None) -> Snapshot:
    """The snapshot of the request, else of the request that is being answered, else the newest."""
    if request is not None:
        return request_flags_of(request).snapshot
    request_flags = current_request_flags.get()
    return store.current() if request_flags is None else request_flags.snapshot


def visitor_id(request: HttpRequest) -> str | None:
    """The id in the visitor's signed cookie; None on the first visit, and if it was forged."""
    request_flags = request_flags_of(request)
    if not request_flags.has_asked:
        request_flags.has_asked = True
        request_flags.visitor_id = request.get_signed_cookie(COOKIE, default=None, salt=COOKIE)
    return request_flags.visitor_id


def finish_request(request_flags: RequestFlags, response: HttpResponseBase) -> None:
    """Give a visitor who was asked for an id and had none one for the next time."""
    if not request_flags.has_asked:
        return
    patch_vary_headers(response, ("Cookie",))
    if request_flags.visitor_id is None:
        response.set_signed_cookie(
            COOKIE,
            uuid4().hex,
            salt=COOKIE,
            max_age=COOKIE_SECONDS,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
