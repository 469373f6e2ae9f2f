"""System checks: each id with the setting that causes it, and silence without."""

import base64
import os
import sys
import subprocess

import pytest
from django.core.checks import run_checks

FILES = "django.core.files.storage.FileSystemStorage"
S3 = "storages.backends.s3.S3Storage"


def found(deploy=True):
    messages = run_checks(tags=["deploy_ops"], include_deployment_checks=deploy)
    return {message.id.removeprefix("deploy_ops."): message for message in messages}


@pytest.fixture(autouse=True)
def sound(settings, tmp_path):
    settings.DEPLOY_OPS_BACKUP_DIR = str(tmp_path / "vault")
    settings.MEDIA_ROOT = str(tmp_path / "media")
    settings.STATIC_ROOT = str(tmp_path / "static")
    return settings


def test_sound_settings_say_nothing():
    assert found() == {}


def test_c001_a_setting_that_does_not_exist(settings):
    settings.DEPLOY_OPS_BACKUPDIR = "/var/backups"
    assert found()["C001"].hint == "Did you mean DEPLOY_OPS_BACKUP_DIR?"
    assert "DEPLOY_OPS_BACKUPDIR is not a setting" in found()["C001"].msg


@pytest.mark.parametrize("root", ["MEDIA_ROOT", "STATIC_ROOT"])
def test_c002_backups_that_anybody_could_fetch(settings, root):
    settings.DEPLOY_OPS_BACKUP_DIR = os.path.join(getattr(settings, root), "x", "..", "backups")
    assert f"below {root}: anybody could fetch them" in found()["C002"].msg


def test_c003_a_setting_of_the_wrong_type(settings):
    settings.DEPLOY_OPS_BACKUP_KEEP = {"hourly": 3}
    assert "unknown keys: hourly" in found()["C003"].msg


def test_c004_a_key_file_that_cannot_be_used(settings, tmp_path):
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = tmp_path / "key"
    assert "cannot be read" in found()["C004"].msg
    (tmp_path / "key").write_text(f"2026:{base64.b64encode(bytes(32)).decode()}")
    (tmp_path / "key").chmod(0o644)
    assert "chmod 600" in found()["C004"].msg
    (tmp_path / "key").chmod(0o600)
    assert found() == {}


def test_c005_a_directory_without_client_programs(settings, tmp_path):
    settings.DEPLOY_OPS_PG_BIN = {16: str(tmp_path)}
    assert "DEPLOY_OPS_PG_BIN[16]" in found()["C005"].msg
    for program in ("pg_dump", "pg_restore"):
        (tmp_path / program).touch()
    assert found() == {}


def test_c006_copies_that_others_can_read(settings):
    settings.STORAGES = settings.STORAGES | {"backups": {"BACKEND": FILES}}
    assert "other users of the host can read" in found()["C006"].msg
    private = {"BACKEND": FILES, "OPTIONS": {"file_permissions_mode": 0o600}}
    settings.STORAGES = settings.STORAGES | {"backups": private}
    assert found() == {}


def test_c007_copies_that_are_compared_in_memory(settings):
    settings.STORAGES = settings.STORAGES | {"backups": {"BACKEND": S3}}
    assert "into memory" in found()["C007"].msg
    frugal = {"BACKEND": S3, "OPTIONS": {"max_memory_size": 1}}
    settings.STORAGES = settings.STORAGES | {"backups": frugal}
    assert found() == {}


def test_c008_a_middleware_that_gets_polls_before_ours(settings):
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", *settings.MIDDLEWARE]
    assert "SecurityMiddleware comes before HealthMiddleware" in found()["C008"].msg
    settings.MIDDLEWARE = settings.MIDDLEWARE[2:]
    assert "C008" not in found(), "the views may answer instead"


@pytest.mark.parametrize(
    "check", ["health_chek.checks.Cache", "databse", "math.nothing", ("json", 1)]
)
def test_c009_a_readiness_check_that_cannot_be_made(settings, check):
    settings.DEPLOY_OPS_READINESS_CHECKS = ["database", check]
    assert "DEPLOY_OPS_READINESS_CHECKS cannot be used" in found()["C009"].msg


def test_ordinary_commands_do_not_pay_for_the_slower_checks(settings, tmp_path):
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = tmp_path / "no such key"
    assert found(deploy=False) == {}


def test_starting_up_does_not_import_what_only_some_need():
    program = (
        "import sys, django; django.setup();"
        "print([m for m in ('cryptography', 'storages', 'boto3', 'rich') if m in sys.modules])"
    )
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "MEDIA_ROOT": "/nonexistent",
        "DATABASE_URL": "sqlite:////nonexistent.sqlite3",
    }
    run = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
