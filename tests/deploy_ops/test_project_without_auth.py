"""A project of another shape: no django.contrib.auth, no admin, users by UUID and without a name."""

import pytest

HEALTH = "deploy_ops.health.middleware.HealthMiddleware"
STATUSES = """
from django.test import Client
paths = ("/health/", "/health/db/", "/health/ready/", "/health/details/")
print("statuses", *(Client().get(path).status_code for path in paths))
"""
ACCOUNT = """
from deploy_ops.release import temporary_account
from tests.sample_apps.own_user.models import Member
left = Member(email="deploy-ops-smoke-20200101000000-0a1b2c3d@smoke.invalid")
left.save()
with temporary_account(forget=lambda user: None, city="Bonn") as account:
    [member] = Member.objects.all()
    assert member.email == account.name and account.name.endswith("@smoke.invalid")
    assert member.city == "Bonn" and member.check_password(account.password.reveal())
print("left:", Member.objects.count())
"""
each_database = pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)


@pytest.fixture
def without_auth(project):
    return project.settings(
        INSTALLED_APPS=["deploy_ops", "tests.sample_apps.own_user"],
        AUTH_USER_MODEL="own_user.Member",
        ROOT_URLCONF="tests.sample_apps.own_user.urls",
        DEPLOY_OPS_TWO_PHASE=True,
    )


@each_database
def test_it_is_checked_migrated_and_polled(without_auth, database):
    project = without_auth
    checked = project.run("check", "--tag", "deploy_ops", "--fail-level", "WARNING", check=0)
    assert "no issues" in checked.stdout
    project.run("check", "--deploy", "--fail-level", "ERROR", check=0)
    project.run("migrate", "own_user", "0001", check=0)
    assert "not applied" in project.run("health", check=1).stdout
    project.run("safe_migrate", "--noinput", check=0)
    assert "city" in database.schema()["own_user_member"]
    assert "Healthy: database, migrations, cache" in project.run("health", check=0).stdout
    assert "Traceback" not in repr(project.run("doctor"))
    # As views alone, and then by the middleware: the page is there for nobody either way.
    for middleware in ([], [HEALTH]):
        project.settings(MIDDLEWARE=middleware)
        told = project.run("shell", "-c", STATUSES, check=0).stdout
        assert "statuses 200 200 200 404" in told


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_account_for_a_smoke_test_fits_its_user_model(without_auth):
    """Known by an address, with a field that is required, and no date_joined."""
    without_auth.run("migrate", check=0)
    told = without_auth.run("shell", "-c", ACCOUNT)
    assert "left: 0" in told.stdout, told
