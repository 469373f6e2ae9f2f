"""System checks of health polls: the middleware's place, what readiness asks, and the hold."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.urls import NoReverseMatch, get_script_prefix, reverse

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.health.paths import poll_paths
from deploy_ops.health.readiness import BUILT_IN, make_probes
from deploy_ops.hold_file import HoldFile
from deploy_ops.own_paths import clashes

HEALTH = "deploy_ops.health.middleware.HealthMiddleware"


@register("deploy_ops")
def check_health_middleware(**_options: Any) -> list[CheckMessage]:
    """C008: the middleware that answers polls stands behind others that get in their way."""
    if HEALTH not in settings.MIDDLEWARE or settings.MIDDLEWARE[0] == HEALTH:
        return []
    return [
        checks.Warning(
            f"{settings.MIDDLEWARE[0]} comes before HealthMiddleware in MIDDLEWARE, so polls by IP "
            "address or plain http may get 400 or 301 instead of an answer.",
            hint=f"Move {HEALTH} to the first position in MIDDLEWARE.",
            id="deploy_ops.C008",
        )
    ]


@register("deploy_ops")
def check_health_paths(**_options: Any) -> list[CheckMessage]:
    """C021: a path of the polls that the project has a URL pattern for."""
    try:
        polls = poll_paths() if HEALTH in settings.MIDDLEWARE else {}
    except ConfigurationError:
        return []  # C003 tells it
    return list(clashes(chain(polls, _paths_of_views()), "DEPLOY_OPS_HEALTH_PATH"))


def _paths_of_views() -> Iterator[str]:
    """Where the project has included deploy_ops.urls, if it has."""
    for name in ("health", "health_db", "health_ready", "health_details"):
        with suppress(NoReverseMatch):
            below = get_script_prefix().removesuffix("/")  # FORCE_SCRIPT_NAME, which no pattern has
            path = reverse(f"deploy_ops:{name}").removeprefix(below)
            yield from (path, f"{path.removesuffix('/')}/")


@register("deploy_ops")
def check_readiness_checks(**_options: Any) -> list[CheckMessage]:
    """C009: a readiness check that cannot be made, so that every poll would fail."""
    try:
        databases = conf.readiness_databases
    except (TypeError, ConfigurationError):
        return []  # C003 tells it
    try:
        make_probes(databases)
    except (AttributeError, ImportError, TypeError, ValueError, ConfigurationError) as error:
        return [
            Error(
                f"DEPLOY_OPS_READINESS_CHECKS cannot be used: {error}",
                hint=f"There are {', '.join(BUILT_IN)}, and paths of functions and classes.",
                id="deploy_ops.C009",
            )
        ]
    return []


@register("deploy_ops", deploy=True)
def check_hold(**_options: Any) -> list[CheckMessage]:
    """C016: requests that a restore is to hold, and that would not be held."""
    try:
        return [
            Error(problem, hint=hint, id="deploy_ops.C016") for problem, hint in _hold_problems()
        ]
    except ConfigurationError:
        return []  # C003 tells it


def _hold_problems() -> Iterator[tuple[str, str]]:
    if conf.pgbouncer_url and not conf.direct_database_url:
        yield (
            "DEPLOY_OPS_PGBOUNCER_URL is set, and a restore that goes through PgBouncer itself "
            "would wait for it.",
            "Set DEPLOY_OPS_DIRECT_DATABASE_URL to the address of PostgreSQL.",
        )
    if (path := conf.hold_file) is None:
        return
    if HEALTH not in settings.MIDDLEWARE:
        yield (
            "DEPLOY_OPS_HOLD_FILE is set, and nothing holds requests: HealthMiddleware is not in "
            "MIDDLEWARE.",
            f"Put {HEALTH} first in MIDDLEWARE.",
        )
    try:
        HoldFile(path).is_held()
    except ConfigurationError as error:
        yield str(error), "Name a path on a disk of this host that the application can write."
