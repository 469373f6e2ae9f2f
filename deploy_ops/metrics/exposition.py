"""What `GET /metrics` answers: Prometheus text for allowed callers, 403 with nothing for others."""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from prometheus_client import REGISTRY, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from deploy_ops.health.probe import Probe, outcomes
from deploy_ops.health.readiness import readiness_probes
from deploy_ops.metrics import collectors
from deploy_ops.metrics.access import is_allowed
from deploy_ops.metrics.failures import begin_at_zero
from deploy_ops.metrics.reading import Source
from deploy_ops.metrics.workers import VARIABLE, counting_files

# A backup is made once a day, and its catalog may lie in a storage that bills each look.
SOURCES = {
    "backups": Source("backups", collectors.backups, keep=timedelta(minutes=1)),
    "migrations": Source("migrations", collectors.migrations, keep=timedelta(seconds=10)),
    "contracts": Source("contracts", collectors.contracts, keep=timedelta(seconds=10)),
    "backfills": Source("backfills", collectors.backfills, keep=timedelta(seconds=10)),
    "events": Source("events", collectors.events, keep=timedelta(seconds=10)),
    "flags": Source("flags", collectors.flags),
    "stale_flags": Source("stale_flags", collectors.stale_flags, keep=timedelta(minutes=1)),
}


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer whoever asks."""
    if not is_allowed(request):
        response = HttpResponse(status=403)
    elif request.method not in ("GET", "HEAD"):
        response = HttpResponseNotAllowed(["GET", "HEAD"])
    else:
        response = HttpResponse(b"" if request.method == "HEAD" else page())
    response["Content-Type"] = CONTENT_TYPE_PLAIN_0_0_4
    response["Cache-Control"] = "no-store"
    return response


def page() -> bytes:
    """All metrics of this instance: of every worker under gunicorn, of this process elsewhere."""
    begin_at_zero()
    return _counted() + generate_latest(_Collectors())


def _counted() -> bytes:
    if VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    with counting_files() as files:
        return generate_latest(_Workers(files))


class _Workers:
    """What the workers have counted, in the files given."""

    def __init__(self, files: list[str]) -> None:
        self._files = files

    def collect(self) -> Iterable[Metric]:
        """Add them up; Prometheus' Collector."""
        merged: Iterable[Metric] = MultiProcessCollector.merge(self._files)
        return merged


class _Collectors:
    """The gauges of the collectors, which know no workers: any one of them may read them."""

    def collect(self) -> Iterator[Metric]:
        """Yield what every collector says, then what could not be asked; Prometheus' Collector."""
        checks = dict(readiness_probes())
        sources = {name: source.probe for name, source in SOURCES.items()}
        found = outcomes(_unmistakable(checks, sources))
        yield from collectors.build()
        for source in SOURCES.values():
            yield from source
        yield collectors.are_up(
            "health_check_up",
            "Whether this check of readiness passes.",
            "check",
            {name: found[f"check {name}"].is_ok for name in checks},
        )
        yield collectors.are_up(
            "metrics_source_up",
            "Whether these metrics could be read just now; if not, they are the last known.",
            "source",
            {name: found[f"source {name}"].is_ok for name in sources},
        )


def _unmistakable(checks: Mapping[str, Probe], sources: Mapping[str, Probe]) -> dict[str, Probe]:
    """All in one, to be asked at once; a check and a source may have the same name."""
    named = {f"check {name}": probe for name, probe in checks.items()}
    return named | {f"source {name}": probe for name, probe in sources.items()}
