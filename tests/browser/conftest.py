"""A real browser before a real server on SQLite.

browser     tests.browser.chromium.Browser, logged out, before a live server of its own
person      person("anna", "toggle_flag", staff=True): a user whose password is the name

A missing Chromium is a loud skip; REQUIRE_BROWSER makes it a failure. What the pages look like is
in var/screenshots afterwards.
"""

import os

import pytest
from django.contrib.auth.models import Permission, User

from tests.browser.chromium import Browser, what_is_missing


@pytest.fixture(scope="session")
def chromium(live_server, tmp_path_factory):
    """Started once: it takes seconds. It ends before the server, whose connections it keeps."""
    if missing := what_is_missing():
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(f"REQUIRE_BROWSER is set: {missing}", pytrace=False)
        pytest.skip(f"NOT TESTED IN A BROWSER: {missing}")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    browser.base = live_server.url
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium) -> Browser:
    chromium.forget()
    return chromium


@pytest.fixture
def person(transactional_db):
    """Makes people; `permissions` are code names of deploy_ops."""

    def _person(name: str, *permissions: str, staff: bool = False, **fields) -> User:
        user = User.objects.create_user(name, password=name, is_staff=staff, **fields)
        for permission in permissions:
            found = Permission.objects.get(
                content_type__app_label="deploy_ops", codename=permission
            )
            user.user_permissions.add(found)
        return user

    return _person
