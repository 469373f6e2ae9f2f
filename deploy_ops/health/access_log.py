"""gunicorn's access log without successful polls. Needs gunicorn; no other module needs this."""

from functools import cached_property
from typing import Any

from gunicorn.glogging import Logger

from deploy_ops.health.paths import poll_paths


class LoggerWithoutPolls(Logger):  # type: ignore[misc]
    """For gunicorn's setting `logger_class`: no line for a poll that was answered well.

    gunicorn has no filter by path of its own and means logging's to be used
    (https://github.com/benoitc/gunicorn/issues/1781). That comes too late, after all that a line
    might have in it was worked out: a tenth of what a poll costs.
    """

    @cached_property
    def _polls(self) -> frozenset[str]:
        """Read in the worker, which has the settings."""
        return frozenset(poll_paths())

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """Write the line of one request, or none."""
        # What gunicorn refuses by itself has no path.
        is_poll = environ.get("PATH_INFO") in self._polls
        if not (is_poll and str(resp.status).startswith("2")):
            super().access(resp, req, environ, request_time)
