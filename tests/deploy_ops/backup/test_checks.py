"""The findings C002, C004, C006 and C007."""

import base64
import os

import pytest

FILES = "django.core.files.storage.FileSystemStorage"
S3 = "storages.backends.s3.S3Storage"


@pytest.mark.parametrize("root", ["MEDIA_ROOT", "STATIC_ROOT"])
def test_c002_backups_that_anybody_could_fetch(findings, settings, root):
    settings.DEPLOY_OPS_BACKUP_DIR = os.path.join(getattr(settings, root), "x", "..", "backups")
    assert f"below {root}: anybody could fetch them" in findings()["C002"].msg


def test_c004_a_key_file_that_cannot_be_used(findings, settings, tmp_path):
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = tmp_path / "key"
    assert "cannot be read" in findings()["C004"].msg
    (tmp_path / "key").write_text(f"2026:{base64.b64encode(bytes(32)).decode()}")
    (tmp_path / "key").chmod(0o644)
    assert "chmod 600" in findings()["C004"].msg
    (tmp_path / "key").chmod(0o600)
    assert findings() == {}


def test_c006_copies_that_others_can_read(findings, settings):
    settings.STORAGES = settings.STORAGES | {"backups": {"BACKEND": FILES}}
    assert "other users of the host can read" in findings()["C006"].msg
    private = {"BACKEND": FILES, "OPTIONS": {"file_permissions_mode": 0o600}}
    settings.STORAGES = settings.STORAGES | {"backups": private}
    assert findings() == {}


def test_c007_copies_that_are_compared_in_memory(findings, settings):
    settings.STORAGES = settings.STORAGES | {"backups": {"BACKEND": S3}}
    assert "into memory" in findings()["C007"].msg
    frugal = {"BACKEND": S3, "OPTIONS": {"max_memory_size": 1}}
    settings.STORAGES = settings.STORAGES | {"backups": frugal}
    assert findings() == {}


def test_ordinary_commands_do_not_pay_for_the_slower_checks(findings, settings, tmp_path):
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = tmp_path / "no such key"
    assert findings(deploy=False) == {}
