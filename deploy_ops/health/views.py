"""The polls as views, for projects without the middleware, and the page for staff."""

import secrets
from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from deploy_ops.health.answers import CONNECTION, LIVENESS, READINESS, Poll
from deploy_ops.health.draining import is_draining
from deploy_ops.health.probe import outcomes
from deploy_ops.health.readiness import readiness_probes
from deploy_ops.version import code_version

# Nothing but the page's own stylesheet, which a policy of the project that knows no nonce lets in
# as a file of its own.
POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def _view(poll: Poll) -> Callable[[HttpRequest], HttpResponse]:
    """Make a view of a poll that ATOMIC_REQUESTS, login and CSRF protection leave alone."""

    def answer(request: HttpRequest) -> HttpResponse:
        return poll.answer(request)

    return login_not_required(csrf_exempt(non_atomic_requests(answer)))


liveness = _view(LIVENESS)
connection = _view(CONNECTION)
readiness = _view(READINESS)


@never_cache
@require_safe
def details(request: HttpRequest) -> HttpResponse:
    """Show staff every check with its reason; others who are logged in get 403.

    Raises Http404 where nobody can log in, without AuthenticationMiddleware.
    """
    if not hasattr(request, "user"):
        raise Http404
    return _page(request)


@login_required
def _page(request: HttpRequest) -> HttpResponse:
    if not getattr(request.user, "is_staff", False):
        raise PermissionDenied
    found, nonce = outcomes(readiness_probes()), secrets.token_urlsafe(16)
    context = {
        "nonce": nonce,
        "checks": sorted(found.items()),
        "is_draining": is_draining(),
        "is_ready": all(each.is_ok for each in found.values()) and not is_draining(),
        "version": code_version(),
    }
    response = render(request, "deploy_ops/health.html", context)
    response["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    return response
