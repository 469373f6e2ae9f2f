"""The middleware that answers `GET /metrics`.

It stands before host, SSL and session code, as that of /health/ does: Prometheus scrapes an
address and plain http, which ALLOWED_HOSTS and SECURE_SSL_REDIRECT would refuse.
"""

import logging
from collections.abc import Awaitable, Callable
from importlib.util import find_spec

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponseBase

from deploy_ops.conf import conf

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


def has_client() -> bool:
    """Whether prometheus-client, which is optional, is installed."""
    return find_spec("prometheus_client") is not None


def metrics_paths() -> frozenset[str]:
    """The whole path, without a slash at its end and with one."""
    return frozenset({conf.metrics_path, f"{conf.metrics_path}/"})


class MetricsMiddleware:
    """Answers DEPLOY_OPS_METRICS_PATH, hands on all else. It belongs right behind that of /health/.

    Without prometheus-client it is left out, and the path is the project's: C022 says so before.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not has_client():
            logger.error("%s is not answered: prometheus-client is missing", conf.metrics_path)
            raise MiddlewareNotUsed
        # It needs the client, and counts from now on.
        from deploy_ops.metrics.exposition import metrics

        self.get_response = get_response
        self._paths = metrics_paths()
        self._answer: GetResponse = metrics
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
            # In a thread: it reads files, and may wait a second for the collectors.
            self._answer = sync_to_async(metrics, thread_sensitive=False)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if request.path_info in self._paths:
            return self._answer(request)
        return self.get_response(request)
