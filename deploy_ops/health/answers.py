"""What the three polls answer, for the middleware and the views alike.

Nothing of the request is echoed and nothing internal is shown, since nobody has been asked who
they are: the names of failing checks, never their reasons, nor of which database.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from django.http import HttpRequest, HttpResponse

from deploy_ops.health.draining import is_draining
from deploy_ops.health.probe import Outcome, Probe, aoutcomes, outcomes
from deploy_ops.health.readiness import DATABASE, public_name, readiness_probes
from deploy_ops.version import code_version

METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Poll:
    """Which probes a poll waits for, and the body it makes of their outcomes."""

    probes: Callable[[], Mapping[str, Probe]]
    body: Callable[[list[str], Mapping[str, Outcome]], bytes]
    drains: bool = False

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer, after at most the longest deadline of the probes."""
        if request.method not in METHODS:
            return _not_allowed()
        return self._response(request, outcomes(self.probes()))

    async def aanswer(self, request: HttpRequest) -> HttpResponse:
        """The same in an event loop."""
        if request.method not in METHODS:
            return _not_allowed()
        return self._response(request, await aoutcomes(self.probes()))

    def _response(self, request: HttpRequest, found: Mapping[str, Outcome]) -> HttpResponse:
        failing = [name for name, outcome in found.items() if not outcome.is_ok]
        if self.drains and is_draining():
            failing.append("draining")
        content = self.body(failing, found)
        return _response(503 if failing else 200, content, is_head=request.method == "HEAD")


def _live(_failing: list[str], _found: Mapping[str, Outcome]) -> bytes:
    return _always_the_same()


@cache
def _always_the_same() -> bytes:
    return _json(status="ok", version=code_version())


def _connected(failing: list[str], _found: Mapping[str, Outcome]) -> bytes:
    if failing:
        return _json(status="error", db="unavailable")
    return _json(status="ok", db="connected")


def _ready(failing: list[str], found: Mapping[str, Outcome]) -> bytes:
    if failing:
        names = sorted(set(map(public_name, failing)))
        return _json(status="error", version=code_version(), failing=names)
    checks = dict.fromkeys(map(public_name, found), "ok")
    checks |= {public_name(name): "unknown" for name, each in found.items() if not each.is_known}
    return _json(status="ok", version=code_version(), checks=checks)


def _json(**facts: object) -> bytes:
    return json.dumps(facts).encode()


LIVENESS = Poll(dict, _live)
CONNECTION = Poll(lambda: {"database": DATABASE}, _connected)
READINESS = Poll(readiness_probes, _ready, drains=True)


def _response(status: int, content: bytes, *, is_head: bool = False) -> HttpResponse:
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
    }
    return _quiet(HttpResponse(b"" if is_head else content, status=status, headers=headers))


def _not_allowed() -> HttpResponse:
    response = _response(405, b"")
    response.headers["Allow"] = ", ".join(METHODS)
    return response


def _quiet(response: HttpResponse) -> HttpResponse:
    """Keep Django from logging each failing poll at ERROR, which mails ADMINS every few seconds.

    The probe logs when a check begins to fail, and the access log has every failing poll. The
    attribute is what django.utils.log.log_response itself sets.
    """
    setattr(response, "_has_been_logged", True)
    return response
