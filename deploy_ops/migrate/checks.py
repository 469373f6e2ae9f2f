"""System checks of whether safe_migrate is for this project."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.db import connections

from deploy_ops.errors import ConfigurationError
from deploy_ops.migrate.other_migrate import refusal


@register("deploy_ops", deploy=True)
def check_other_migrate(**_options: Any) -> list[CheckMessage]:
    """C017: a project that migrates several schemas, or by a `migrate` of its own."""
    try:
        refusals = dict.fromkeys(filter(None, map(refusal, connections)))
    except ConfigurationError:
        return []  # C003 tells it
    return [
        Error(f"safe_migrate refuses this project. {text}", id="deploy_ops.C017")
        for text in refusals
    ]
