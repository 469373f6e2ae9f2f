"""Looks at health from a terminal: here in this process, or at a running server."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from deploy_ops.conf import conf
from deploy_ops.errors import HealthCheckFailed, UsageError
from deploy_ops.health.draining import is_draining
from deploy_ops.health.paths import READINESS
from deploy_ops.health.probe import Probe, outcomes
from deploy_ops.health.readiness import make_probes

LARGEST_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Names of failing checks with their reasons, those that passed, what these say besides, and
    those that cannot know, with why."""

    failing: dict[str, str]
    passed: list[str]
    notes: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def run_checks(aliases: Iterable[str], patience: timedelta) -> HealthReport:
    """Run the readiness checks in this process, those of databases for each of the aliases."""
    found = outcomes(make_probes(aliases, patience, is_watched=False))
    failing = {name: each.reason for name, each in found.items() if not each.is_ok}
    if is_draining():
        failing["draining"] = "the drain file exists"
    passed = [name for name, each in found.items() if each.is_ok and each.is_known]
    return HealthReport(
        failing,
        passed,
        notes={name: found[name].note for name in passed if found[name].note},
        unknown={name: each.note for name, each in found.items() if not each.is_known},
    )


def query_server(url: str, patience: timedelta) -> HealthReport:
    """Ask a running server; a URL without a path means its readiness.

    Raises UsageError if it is no http URL. The patience bounds all of it, name lookup included.
    """
    parts, ready = urlsplit(url), f"{conf.health_path}{READINESS}/"
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"{url} is not an address of a server. Nothing was changed. It looks like "
            f"http://127.0.0.1:8000{ready}"
        )
    path = ready if parts.path in ("", "/") else parts.path
    address = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    probe = Probe(address, partial(_fetch, address, patience), deadline=patience, is_watched=False)
    outcome = probe.outcome()
    if outcome.is_ok:
        return HealthReport({}, [address])
    return HealthReport({address: outcome.reason}, [])


def _fetch(address: str, patience: timedelta) -> None:
    try:
        with _OPENER.open(address, timeout=patience.total_seconds()) as response:
            status, content = response.status, response.read(LARGEST_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            status, content = error.code, error.read(LARGEST_ANSWER_BYTES)
    except urllib.error.URLError as error:
        raise HealthCheckFailed(str(error.reason)) from error
    answer = _parse(content)
    if status != 200 or answer.get("status") != "ok":
        failing = ", ".join(map(str, answer.get("failing", [])))
        raise HealthCheckFailed(f"answered {status}{': ' if failing else ''}{failing}")


def _parse(content: bytes) -> dict[str, Any]:
    """The answer, empty if it is none of ours: a login page with 200 is not health."""
    try:
        answer = json.loads(content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        """A redirect is not an answer: where it leads may be another server."""


# No proxy: the server to ask is this one, most often by its loopback address.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
