"""The polls as views, for projects without the middleware, and the page for staff."""

from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from deploy_ops.csp import HEADER, new_nonce, policy
from deploy_ops.health.answers import CONNECTION, LIVENESS, READINESS, Poll
from deploy_ops.health.draining import is_draining
from deploy_ops.health.frame import frame_of_admin
from deploy_ops.health.probe import outcomes
from deploy_ops.health.readiness import readiness_probes
from deploy_ops.version import code_version


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
    found, frame, nonce = outcomes(readiness_probes()), frame_of_admin(request), new_nonce()
    context = frame | {
        "checks": sorted(found.items()),
        "is_draining": is_draining(),
        "is_ready": all(each.is_ok for each in found.values()) and not is_draining(),
        "version": code_version(),
        "nonce": nonce,
        "frame": "deploy_ops/health/in_admin.html" if frame else "deploy_ops/health/alone.html",
    }
    response = render(request, "deploy_ops/health/details.html", context)
    response[HEADER] = policy(request, nonce, is_in_admin=bool(frame))
    return response
