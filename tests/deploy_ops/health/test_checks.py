"""The findings C008 and C009."""

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
