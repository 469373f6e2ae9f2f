"""The findings C008, C009 and C016."""

import pytest


def test_c008_a_middleware_that_gets_polls_before_ours(findings, settings):
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", *settings.MIDDLEWARE]
    assert "SecurityMiddleware comes before HealthMiddleware" in findings()["C008"].msg
    settings.MIDDLEWARE = settings.MIDDLEWARE[2:]
    assert "C008" not in findings(), "the views may answer instead"


@pytest.mark.parametrize(
    "check", ["health_chek.checks.Cache", "databse", "math.nothing", ("json", 1)]
)
def test_c009_a_readiness_check_that_cannot_be_made(findings, settings, check):
    settings.DEPLOY_OPS_READINESS_CHECKS = ["database", check]
    assert "DEPLOY_OPS_READINESS_CHECKS cannot be used" in findings()["C009"].msg


def test_c016_a_hold_that_would_hold_nobody(findings, settings, tmp_path):
    assert "C016" not in findings()
    settings.DEPLOY_OPS_HOLD_FILE = tmp_path / "run" / "hold"
    assert "C016" not in findings()
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    assert "HealthMiddleware is not in MIDDLEWARE" in findings()["C016"].msg
    assert "C016" not in findings(deploy=False)


def test_c016_a_hold_file_that_cannot_be_used(findings, settings, tmp_path):
    (tmp_path / "file").touch()
    settings.DEPLOY_OPS_HOLD_FILE = tmp_path / "file" / "hold"
    assert "hold cannot be used" in findings()["C016"].msg


def test_c016_pgbouncer_that_the_restore_itself_would_wait_for(findings, settings):
    settings.DEPLOY_OPS_PGBOUNCER_URL = "postgresql://anna@127.0.0.1:6432/pgbouncer"
    assert "would wait for it" in findings()["C016"].msg
    settings.DEPLOY_OPS_DIRECT_DATABASE_URL = "postgresql://anna@127.0.0.1/kvb"
    assert "C016" not in findings()


@pytest.mark.parametrize("seconds", [0, -3, "20"])
def test_c003_seconds_that_nobody_can_be_held_for(findings, settings, seconds):
    settings.DEPLOY_OPS_HOLD_SECONDS = seconds
    assert "DEPLOY_OPS_HOLD_SECONDS must be" in findings()["C003"].msg
