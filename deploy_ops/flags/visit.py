"""What one request keeps: the snapshot it began with, and the id of a visitor without a login."""

from contextvars import ContextVar
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

from deploy_ops.flags.state import Snapshot
from deploy_ops.flags.store import store

COOKIE = "deploy_ops_visitor"
COOKIE_SECONDS = 365 * 24 * 60 * 60
VISIT = "_deploy_ops_visit"  # the attribute of a request that keeps its Visit


class Visit:
    """One request as the flags see it."""

    __slots__ = ("snapshot", "visitor_id", "has_asked")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.visitor_id: str | None = None
        self.has_asked = False


current_visit: ContextVar[Visit | None] = ContextVar("deploy_ops_visit", default=None)


def visit_of(request: HttpRequest) -> Visit:
    """The visit that belongs to a request; begun here if no middleware did."""
    visit: Visit | None = getattr(request, VISIT, None)
    if visit is None:
        visit = current_visit.get() or Visit(store.current())
        setattr(request, VISIT, visit)
    return visit


def begin_visit(request: HttpRequest) -> Visit:
    """Pin the newest snapshot to the request, so that one page never mixes two states."""
    visit = Visit(store.current())
    setattr(request, VISIT, visit)
    return visit


def pinned_snapshot(request: HttpRequest | None) -> Snapshot:
    """The snapshot of the request, else of the request that is being answered, else the newest."""
    if request is not None:
        return visit_of(request).snapshot
    visit = current_visit.get()
    return store.current() if visit is None else visit.snapshot


def visitor_id(request: HttpRequest) -> str | None:
    """The id in the visitor's signed cookie; None on the first visit, and if it was forged."""
    visit = visit_of(request)
    if not visit.has_asked:
        visit.has_asked = True
        visit.visitor_id = request.get_signed_cookie(COOKIE, default=None, salt=COOKIE)
    return visit.visitor_id


def finish_visit(visit: Visit, response: HttpResponseBase) -> None:
    """Give a visitor who was asked for an id and had none one for the next time."""
    if not visit.has_asked:
        return
    patch_vary_headers(response, ("Cookie",))
    if visit.visitor_id is None:
        response.set_signed_cookie(
            COOKIE,
            uuid4().hex,
            salt=COOKIE,
            max_age=COOKIE_SECONDS,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
