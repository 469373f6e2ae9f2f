"""`manage.py makemigrations`: as without deploy_ops, or as make_two_phase, by a setting."""

from typing import Any

from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError
from deploy_ops.management.other_makemigrations import other_makemigrations


def __getattr__(name: str) -> Any:
    """`Command`, when Django asks for it: the setting is read as late as that."""
    if name != "Command":
        raise AttributeError(name)
    if not _is_two_phase():
        return other_makemigrations()
    # Imported here: Django's own command does not need what ours does.
    from deploy_ops.management.generating import ReportingMigrations

    return ReportingMigrations


def _is_two_phase() -> bool:
    try:
        return conf.makemigrations
    except ConfigurationError:
        return False  # C003 tells it before the command does anything
