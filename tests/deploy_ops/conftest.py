"""What the tests of several packages share."""

import pytest
from django.core.checks import run_checks
from django.test import Client

from deploy_ops.flags.testing import forget_flags


@pytest.fixture
def findings(settings, tmp_path):
    """Run the system checks of settings that are sound but for what a test changes: by id."""
    settings.DEPLOY_OPS_BACKUP_DIR = str(tmp_path / "backups")
    settings.DEPLOY_OPS_TWO_PHASE = True
    settings.MEDIA_ROOT = str(tmp_path / "media")
    settings.STATIC_ROOT = str(tmp_path / "static")

    def find(deploy=True):
        messages = run_checks(tags=["deploy_ops"], include_deployment_checks=deploy)
        return {message.id.removeprefix("deploy_ops."): message for message in messages}

    return find


@pytest.fixture
def fresh_flags(db):
    """Nothing is known of the flags, in a database where none was changed."""
    forget_flags()
    yield
    forget_flags()


@pytest.fixture
def logged_in(django_user_model):
    """A client of somebody of the staff who has these permissions alone."""

    def _logged_in(*permissions: str, name: str = "chef") -> Client:
        from django.contrib.auth.models import Permission  # once the apps are there

        user = django_user_model.objects.create_user(name, is_staff=True)
        for permission in permissions:
            user.user_permissions.add(Permission.objects.get(codename=permission))
        client = Client()
        client.force_login(user)
        return client

    return _logged_in
