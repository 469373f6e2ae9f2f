"""Paths that a project chooses, and those that it has itself: C021 and C022."""

import builtins
import logging
import socket
import sys
from types import ModuleType, SimpleNamespace

import pytest
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import clear_url_caches, include, path, re_path, reverse, set_script_prefix

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from deploy_ops.health.access_log import LoggerWithoutPolls
from deploy_ops.health.gunicorn_worker import HoldingWorker
from deploy_ops.health.middleware import HealthMiddleware
from deploy_ops.health.paths import poll_paths
from deploy_ops.metrics import page

HEALTH = "deploy_ops.health.middleware.HealthMiddleware"
METRICS = "deploy_ops.metrics.page.MetricsMiddleware"
URLS = "tests_urls_of_a_project"


def shop(_request, **_words):
    """A view of the project's own."""
    return HttpResponse("the project's own")


@pytest.fixture
def urls(settings, monkeypatch):
    """Give the project these URL patterns."""

    def has(*patterns):
        module = ModuleType(URLS)
        module.urlpatterns = list(patterns)
        monkeypatch.setitem(sys.modules, URLS, module)
        settings.ROOT_URLCONF = URLS
        clear_url_caches()

    yield has
    clear_url_caches()


@pytest.fixture
def elsewhere(settings):
    settings.MIDDLEWARE = [HEALTH, METRICS]
    settings.DEPLOY_OPS_HEALTH_PATH = "/-/alive/"
    settings.DEPLOY_OPS_METRICS_PATH = "/-/numbers"
    settings.DEPLOY_OPS_READINESS_CHECKS = ["cache"]


def test_middlewares_answer_where_the_project_wants_them(elsewhere, urls):
    urls(path("health/", shop), path("metrics", shop))
    client = Client()
    for poll in ("", "/db", "/ready"):
        for slash in ("", "/"):
            answer = client.get(f"/-/alive{poll}{slash}")
            assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert client.get("/-/numbers").status_code == 403
    assert client.get("/-/numbers/").status_code == 403
    for own in ("/health/", "/metrics"):
        assert client.get(own).content == b"the project's own"


def test_views_are_there_too(elsewhere, urls, monkeypatch):
    monkeypatch.delitem(sys.modules, "deploy_ops.urls", raising=False)
    urls(path("ops/", include("deploy_ops.urls")))
    assert reverse("deploy_ops:health_details") == "/ops/-/alive/details/"
    assert Client().get("/ops/-/alive/ready").status_code == 200
    monkeypatch.delitem(sys.modules, "deploy_ops.urls")


def test_gunicorn_holds_and_logs_all_but_these(elsewhere, monkeypatch):
    monkeypatch.setattr(ThreadWorker, "load_wsgi", lambda self: None)
    worker, logger = HoldingWorker.__new__(HoldingWorker), Logger.__new__(LoggerWithoutPolls)
    worker.cfg = SimpleNamespace(is_ssl=True)
    worker.load_wsgi()
    assert logger._polls == frozenset(poll_paths())
    client, server = socket.socketpair()
    with client, server:
        connection = SimpleNamespace(sock=server, wait_for_data=lambda seconds: True)
        for target, is_poll in {"/-/alive/ready/?a=b": True, "/health/ready/": False}.items():
            client.sendall(f"GET {target} HTTP/1.1\r\n".encode())
            assert worker._is_poll(connection) is is_poll
            server.recv(2048)


@pytest.mark.parametrize("given", ["health/", "/", "", "/a//b", "/a b/", "/ä/", "/a?b", "/a\n", 3])
@pytest.mark.parametrize("name", ["HEALTH_PATH", "METRICS_PATH"])
def test_c003_a_path_that_is_none(findings, settings, name, given):
    setattr(settings, f"DEPLOY_OPS_{name}", given)
    assert name in findings()["C003"].msg


CLASHES = {
    "a page": [path("health/", shop)],
    "below an include": [path("health/", include([path("db/", shop)]))],
    "by a regular expression": [re_path(r"^health/(?P<rest>.*)$", shop)],
    "without a slash": [path("health", shop)],
    "behind one that takes all": [path("<slug:page>/", shop), path("health/ready/", shop)],
    "metrics": [path("metrics", shop)],
    "metrics below an include": [path("metrics/", include([path("", shop)]))],
}
NO_CLASHES = {
    "pages of a CMS": [path("<slug:page>/", shop), re_path(r"^(?P<path>.*)$", shop)],
    "other paths below": [path("health/insurance/", shop), path("metrics/yearly/", shop)],
    "our own views": [path("", include("deploy_ops.urls"))],
    "nothing": [],
}


@pytest.mark.parametrize("patterns", CLASHES.values(), ids=CLASHES)
def test_c021_a_path_that_the_project_has_itself(findings, urls, patterns):
    urls(*patterns)
    found = findings()["C021"]
    assert f"({__name__}.shop)" in found.msg and "only one of them is asked" in found.msg
    assert "DEPLOY_OPS_METRICS_PATH" in found.hint or "DEPLOY_OPS_HEALTH_PATH" in found.hint


@pytest.mark.parametrize("patterns", NO_CLASHES.values(), ids=NO_CLASHES)
def test_c021_is_not_about_patterns_that_take_any_word_nor_about_ours(findings, urls, patterns):
    urls(*patterns)
    assert "C021" not in findings()


def test_c021_views_that_another_pattern_gets_before(findings, settings, urls):
    settings.MIDDLEWARE = []
    urls(path("ops/health/details/", shop), path("ops/", include("deploy_ops.urls")))
    assert "/ops/health/details/" in findings()["C021"].msg
    set_script_prefix("/below/")  # as FORCE_SCRIPT_NAME does at the start
    try:
        assert "/ops/health/details/" in findings()["C021"].msg
    finally:
        set_script_prefix("/")
    urls(path("health/", shop))
    assert "C021" not in findings(), "nothing of ours is there"


def test_c021_metrics_where_a_poll_is(findings, settings):
    settings.DEPLOY_OPS_METRICS_PATH = "/health/db/"
    assert "/health/db is a path of deploy_ops and of HealthMiddleware" in findings()["C021"].msg


def test_c021_patterns_that_cannot_be_loaded_are_said_to_be_unknown(findings, settings):
    settings.ROOT_URLCONF = "nowhere.urls"
    assert "is not known" in findings()["C021"].msg
    del settings.ROOT_URLCONF
    assert "C021" not in findings()


@pytest.fixture
def no_client(monkeypatch):
    """An environment without prometheus-client, where importing it fails."""
    imported = builtins.__import__

    def refuse(name, *args, **options):
        if name.partition(".")[0] == "prometheus_client":
            raise ModuleNotFoundError(name)
        return imported(name, *args, **options)

    for name in [each for each in sys.modules if each.startswith("deploy_ops.metrics.exposition")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(page, "find_spec", lambda name: None)


def test_c022_metrics_without_their_client(findings, settings, no_client, caplog):
    settings.MIDDLEWARE = [HEALTH, METRICS]
    found = findings()["C022"]
    assert found.is_serious() and "pip install prometheus-client" in found.hint
    with pytest.raises(MiddlewareNotUsed), caplog.at_level(logging.ERROR):
        page.MetricsMiddleware(shop)
    assert "/metrics is not answered" in caplog.text
    assert Client().get("/metrics").status_code == 404
    assert Client().get("/health/").status_code == 200
    settings.MIDDLEWARE = [HEALTH]
    assert "C022" not in findings()


def test_c022_is_not_there_with_it(findings):
    assert "C022" not in findings()


def test_root_is_no_poll(rf: RequestFactory):
    assert HealthMiddleware(shop)(rf.get("/")).content == b"the project's own"
