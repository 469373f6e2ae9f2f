"""How often health checks failed, counted where it happens and added up over all workers."""

from typing import Any

from django.dispatch import receiver
from prometheus_client import Counter

from deploy_ops.health.probe import failed
from deploy_ops.health.readiness import readiness_probes

FAILURES = Counter(
    "deploy_ops_health_failures",
    "Failed runs of each health check since the server started.",
    ["check"],
)


@receiver(failed, dispatch_uid="deploy_ops.metrics")
def _count(*, name: str, **_signal: Any) -> None:
    if name in readiness_probes():
        FAILURES.labels(name).inc()


def begin_at_zero() -> None:
    """Show every check before it fails: Prometheus cannot see that a counter appeared with a 1."""
    for name in readiness_probes():
        FAILURES.labels(name)
