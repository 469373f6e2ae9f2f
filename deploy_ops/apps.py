"""Registers deploy_ops with Django."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeployOpsConfig(AppConfig):
    """The reusable app; importing it does no work beyond registering the system checks."""

    name = "deploy_ops"
    verbose_name = _("Deployment")

    def ready(self) -> None:
        """Register the system checks."""
        import_module("deploy_ops.checks")
