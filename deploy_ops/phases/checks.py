"""System checks of two-phase changes."""

from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, register
from django.core.management import get_commands
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
        return []  # C003 or C030 tells it
    return [
        checks.Warning(
            "DEPLOY_OPS_TWO_PHASE is off, so what the running release still needs is dropped while "
            "it runs.",
            hint="In the settings of production:\n    DEPLOY_OPS_TWO_PHASE = True",
            id="deploy_ops.C014",
        )
    ]


@register("deploy_ops")
def check_makemigrations(**_options: Any) -> list[CheckMessage]:
    """C015: makemigrations of another app is in the way of the one of this app."""
    try:
        if not conf.makemigrations or (found := get_commands()["makemigrations"]) == "deploy_ops":
            return []
    except ConfigurationError:
        return []  # C003 tells it
    return [
        checks.Error(
            f"DEPLOY_OPS_MAKEMIGRATIONS is on, and makemigrations is the one of {found}, which "
            "comes before deploy_ops in INSTALLED_APPS and writes migrations in Django's own form.",
            hint=f'Put "deploy_ops" before "{found}"; what that one does is done as well.',
            id="deploy_ops.C015",
        )
    ]
