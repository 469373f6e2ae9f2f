"""Registers deploy_ops with Django."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeployOpsConfig(AppConfig):
    """The reusable app; importing it does no work beyond registering the system checks."""

    name = "deploy_ops"
    verbose_name = _("Deployment")

    def ready(self) -> None:
        """Register the system checks."""
        from deploy_ops import (
            checks,
        )  # noqa: F401  pylint: disable=unused-import,import-outside-toplevel
