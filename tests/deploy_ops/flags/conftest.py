from datetime import date
from decimal import Decimal

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.test import RequestFactory

from deploy_ops.flags.change import Source, change_flag, stored_rules
from deploy_ops.flags.declaration import Flag
from deploy_ops.flags.rules import Rules
from deploy_ops.flags.testing import forget_flags

FLAGS = {
    "dark_mode": Flag("Dark colours"),
    "new_search": Flag("Search with the new index", default=True, owner="search"),
    "old_menu": Flag("The menu of last year", remove_by=date(2020, 1, 31)),
}


@pytest.fixture(autouse=True)
def declared(settings):
    settings.DEPLOY_OPS_FLAGS = FLAGS
    forget_flags()
    yield FLAGS
    forget_flags()


@pytest.fixture
def set_rules(db):
    """Give a flag rules, as this process sees them at once: `set_rules("dark_mode", staff=True)`."""

    def _set(name: str = "dark_mode", *, percent: str | None = None, **rules) -> None:
        given = Rules(percentage=Decimal(percent) if percent else None, **rules)
        revision = stored_rules(name)[1]
        change_flag(name, given, expected_revision=revision, by="anna", source=Source.CODE)
        forget_flags()

    return _set


@pytest.fixture
def anna(db) -> User:
    return User.objects.create_user("anna")


@pytest.fixture
def pilots(db) -> Group:
    return Group.objects.create(name="pilots")


@pytest.fixture
def request_of():
    def _request(user=None, **cookies):
        request = RequestFactory().get("/")
        request.user = user or AnonymousUser()
        request.COOKIES.update(cookies)
        return request

    return _request
