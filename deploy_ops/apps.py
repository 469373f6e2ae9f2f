"""Registers deploy_ops with Django."""

import django
from django.apps import AppConfig
from django.db.models.signals import pre_migrate
from django.utils.translation import gettext_lazy as _

from deploy_ops.supported import require_django

# Here, and not in a check: the models of deploy_ops come next, and an older Django fails at them.
require_django(django.VERSION[:3])


class DeployOpsConfig(AppConfig):
    """The reusable app; importing it does no work beyond registering the system checks."""

    name = "deploy_ops"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = _("Deployment")

    def ready(self) -> None:
        """Register the system checks; refuse to start with an invalid ENABLE_ variable."""
        # Imported here, since they need the models, which are loaded by now.
        # pylint: disable=unused-import  # importing them registers the checks
        import deploy_ops.backup.checks
        import deploy_ops.checks
        import deploy_ops.databases.checks
        import deploy_ops.flags.checks
        import deploy_ops.health.checks
        import deploy_ops.metrics.checks
        import deploy_ops.migrate.checks
        import deploy_ops.phases.checks
        from deploy_ops.flags.declaration import forced_flags
        from deploy_ops.phases.halves import note_start
        from deploy_ops.phases.heartbeat import watch

        watch()
        pre_migrate.connect(note_start, sender=self, dispatch_uid="deploy_ops.phases")
        # gunicorn runs no checks, and a kill switch that was typed wrong must not be overlooked.
        forced_flags()
