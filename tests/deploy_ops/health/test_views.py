"""The same polls as views, and the page for staff."""

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import include, path, reverse
from django.utils.translation import override

from deploy_ops.errors import HealthCheckFailed
from deploy_ops.health import views
from deploy_ops.health.titles import title_of

PATHS = ["health", "health/", "health/db", "health/db/", "health/ready", "health/ready/"]
STATIC = Path(views.__file__).parents[1] / "static" / "deploy_ops"
DETAILS = "/ops/health/details/"
urlpatterns = [path("ops/", include("deploy_ops.urls"))]


def broken():
    raise HealthCheckFailed("geheim.example.org refused <b>anna</b>")


@pytest.fixture(autouse=True)
def project_without_the_middleware(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    settings.LOGIN_URL = "/login/"
    settings.DEPLOY_OPS_READINESS_CHECKS = ["cache"]


@pytest.mark.parametrize("name", PATHS)
def test_polls_need_no_login_and_no_csrf_token(name):
    client = Client(enforce_csrf_checks=True)
    assert client.get(f"/ops/{name}").status_code == 200
    assert client.head(f"/ops/{name}").content == b""
    assert client.post(f"/ops/{name}").status_code == 405
    assert client.get(f"/ops/{name}").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("view", [views.liveness, views.connection, views.readiness])
def test_atomic_requests_open_no_transaction(view):
    assert "default" in view._non_atomic_requests


def test_names_for_reverse():
    assert reverse("deploy_ops:health_details") == DETAILS


@pytest.fixture
def page(client, db):
    def ask(**user):
        client.force_login(User.objects.create(username="anna", **user))
        with override("de"):
            return client.get(DETAILS)

    return ask


def test_page_sends_strangers_to_the_login(client):
    assert client.get(DETAILS).url == f"/login/?next={DETAILS}"


def test_page_is_not_for_everybody(page):
    assert page().status_code == 403


def test_page_shows_staff_every_check_with_its_reason(page, settings):
    settings.DEPLOY_OPS_READINESS_CHECKS = ["cache", f"{__name__}.broken"]
    response = page(is_staff=True)
    text = response.content.decode()
    assert response.status_code == 200 and "no-store" in response.headers["Cache-Control"]
    assert "geheim.example.org refused &lt;b&gt;anna&lt;/b&gt;" in text
    assert "Nicht bereit" in text and "bestanden" in text and 'lang="de"' in text


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("migrations", "Migrationen"),
        ("database:reports", "Datenbankverbindung (reports)"),
        ("supplier", "supplier"),
    ],
)
def test_checks_have_titles_in_the_readers_language(name, title):
    with override("de"):
        assert title_of(name) == title


def test_page_when_all_is_well(page):
    text = page(is_staff=True).content.decode()
    assert "Bereit" in text and "Nicht bereit" not in text


def test_page_says_that_the_instance_is_draining(page, settings, tmp_path):
    settings.DEPLOY_OPS_DRAIN_FILE = tmp_path
    assert "keine Anfragen mehr" in page(is_staff=True).content.decode()


def test_page_is_not_there_where_nobody_can_log_in(rf):
    with pytest.raises(Http404):
        views.details(rf.get(DETAILS))


def test_page_passes_a_strict_content_security_policy(page):
    response = page(is_staff=True)
    policy, text = response.headers["Content-Security-Policy"], response.content.decode()
    nonce = re.search(r"style-src 'nonce-([\w-]{16,})'", policy)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    # A file of its own, which `style-src 'self'` of a proxy in front lets in as well.
    assert f'health.css" nonce="{nonce}"' in text
    assert not re.search(r"<style|<script|\sstyle=|\son\w+=", text)
    assert (STATIC / "health.css").is_file()


def test_page_is_only_read(rf: RequestFactory):
    request = rf.post(DETAILS)
    request.user = AnonymousUser()
    assert views.details(request).status_code == 405
