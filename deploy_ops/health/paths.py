"""Where the polls are, for all who have to know one: the middleware, gunicorn, the checks."""

from collections.abc import Mapping

from deploy_ops.conf import conf

LIVENESS, CONNECTION, READINESS = "", "/db", "/ready"


def poll_paths() -> Mapping[str, str]:
    """Each whole path of a poll, with a slash at its end and without, and which poll it is."""
    return {
        f"{conf.health_path}{poll}{slash}": poll
        for poll in (LIVENESS, CONNECTION, READINESS)
        for slash in ("", "/")
    }
