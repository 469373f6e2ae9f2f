"""System checks: C001 and C003, silence where all is sound, and what they cost at the start."""

import os
import subprocess
import sys

import pytest
from django.core.checks import Tags
from django.core.checks.registry import registry
from django.db import connections

from deploy_ops.conf import known_names
from tests.docs.console import ROOT


def test_sound_settings_say_nothing(findings):
    assert findings() == {}


def test_c001_a_setting_that_does_not_exist(findings, settings):
    settings.DEPLOY_OPS_BACKUPDIR = "/var/backups"
    assert findings()["C001"].hint == "Did you mean DEPLOY_OPS_BACKUP_DIR?"
    assert "DEPLOY_OPS_BACKUPDIR is not a setting" in findings()["C001"].msg


def test_c003_a_setting_of_the_wrong_type(findings, settings):
    settings.DEPLOY_OPS_BACKUP_RETENTION = {"hourly": 3}
    assert "unknown keys: hourly" in findings()["C003"].msg


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


def test_no_check_asks_a_database_unless_one_is_named():
    """Without the fixture `db` a query is an error, and Django 6.1 hands all aliases to `check`."""
    ours = [
        check
        for check in registry.get_checks(include_deployment_checks=True)
        if check.__module__.startswith("deploy_ops.") and Tags.database not in check.tags
    ]
    assert len(ours) > 10
    for check in ours:
        for databases in (None, [*connections]):
            check(app_configs=None, databases=databases)


def test_check_needs_no_server():
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "MEDIA_ROOT": "/nonexistent",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    }
    argv = [sys.executable, "-W", "error", "-m", "django", "check"]
    run = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_every_package_with_checks_is_registered():
    modules = {check.__module__ for check in registry.get_checks(include_deployment_checks=True)}
    for path in (ROOT / "deploy_ops").rglob("checks.py"):
        if "@register(" in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert name in modules


@pytest.mark.parametrize("name", sorted(known_names() - {"DEPLOY_OPS_FLAGS"}))  # ends the start
def test_no_value_of_a_setting_ends_the_checks_themselves(findings, settings, name):
    for value in ([["x"]], {"a": [1]}, "\0", 1e308, float("nan"), None):
        setattr(settings, name, value)
        assert all(each.msg for each in findings(deploy=False).values())


def test_a_fault_of_one_setting_is_not_told_of_another(findings, settings):
    settings.DEPLOY_OPS_READINESS_DATABASES = ["nope"]
    assert findings(deploy=False).keys() & {"C003", "C009"} == {"C003"}
