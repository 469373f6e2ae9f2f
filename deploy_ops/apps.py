"""Registers deploy_ops with Django."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeployOpsConfig(AppConfig):
    """The reusable app; importing it does no work beyond registering the system checks."""

    name = "deploy_ops"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = _("Deployment")

    def ready(self) -> None:
        """Register the system checks; refuse to start with an unfit ENABLE_ variable."""
        import_module("deploy_ops.checks")
        # gunicorn runs no checks, and a kill switch that was typed wrong must not be overlooked.
        import_module("deploy_ops.flags.declaration").forced_flags()
