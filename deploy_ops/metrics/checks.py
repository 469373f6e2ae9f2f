"""System checks of /metrics. They need no prometheus-client."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.health.paths import poll_paths
from deploy_ops.metrics.page import has_client, metrics_paths
from deploy_ops.own_paths import clash, clashes

METRICS = "deploy_ops.metrics.page.MetricsMiddleware"


@register("deploy_ops")
def check_metrics_path(**_options: Any) -> list[CheckMessage]:
    """C021: the path of the metrics is the project's too, or that of a poll."""
    if METRICS not in settings.MIDDLEWARE:
        return []
    try:
        paths = metrics_paths()
        if conf.metrics_path in poll_paths():
            return [clash(conf.metrics_path, "HealthMiddleware", "DEPLOY_OPS_METRICS_PATH")]
    except ConfigurationError:
        return []  # C003 tells it
    return list(clashes(paths, "DEPLOY_OPS_METRICS_PATH"))


@register("deploy_ops")
def check_client(**_options: Any) -> list[CheckMessage]:
    """C022: the middleware of the metrics, and not what it needs."""
    if METRICS not in settings.MIDDLEWARE or has_client():
        return []
    return [
        Error(
            "MetricsMiddleware is in MIDDLEWARE, and prometheus-client is not installed: nobody "
            "answers Prometheus.",
            hint=f"Install it, or take {METRICS} out:\n    pip install prometheus-client",
            id="deploy_ops.C022",
        )
    ]
