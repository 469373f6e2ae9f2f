"""A state directory that the application reads."""

import pytest


@pytest.fixture
def state(tmp_path, settings):
    tmp_path.chmod(0o700)
    settings.DEPLOY_OPS_STATE_DIR = str(tmp_path)
    settings.DEPLOY_OPS_BACKUP_DIR = str(tmp_path / "backups")
    return tmp_path
