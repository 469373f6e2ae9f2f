"""System checks of health polls: the middleware's place, and what readiness asks."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

from deploy_ops.errors import ConfigurationError
from deploy_ops.health.readiness import BUILT_IN, make_probes

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
def check_readiness_checks(**_options: Any) -> list[CheckMessage]:
    """C009: a readiness check that cannot be made, so that every poll would fail."""
    try:
        make_probes()
    except (AttributeError, ImportError, TypeError, ValueError, ConfigurationError) as error:
        return [
            Error(
                f"DEPLOY_OPS_READINESS_CHECKS cannot be used: {error}",
                hint=f"There are {', '.join(BUILT_IN)}, and paths of functions and classes.",
                id="deploy_ops.C009",
            )
        ]
    return []
