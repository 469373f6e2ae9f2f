"""System check of two-phase changes."""

from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, register
from django.db import connections

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import ConfigurationError


@register("deploy_ops", deploy=True)
def check_two_phase(**_options: Any) -> list[CheckMessage]:
    """C014: a deployed project that runs both halves of a change at once."""
    try:
        if conf.two_phase or not any(database_for(a).vendor == "postgresql" for a in connections):
            return []
    except ConfigurationError:
        return []  # C003 tells it
    return [
        checks.Warning(
            "DEPLOY_OPS_TWO_PHASE is off, so what the running release still needs is dropped while "
            "it runs.",
            hint="In the settings of production:\n    DEPLOY_OPS_TWO_PHASE = True",
            id="deploy_ops.C014",
        )
    ]
