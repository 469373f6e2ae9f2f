"""What the tests of several packages share."""

import pytest
from django.core.checks import run_checks


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
