"""The contract of the three polls, and that nothing of Django gets in their way."""

import asyncio
import logging

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from deploy_ops.health import answers
from deploy_ops.health.middleware import HealthMiddleware
from deploy_ops.health.paths import poll_paths
from deploy_ops.health.probe import Probe
from deploy_ops.version import code_version

VERSION = code_version()
LIVE = {"status": "ok", "version": VERSION}
CONNECTED = {"status": "ok", "db": "connected"}
UNAVAILABLE = {"status": "error", "db": "unavailable"}
READY = {"status": "ok", "version": VERSION, "checks": {"database": "ok", "cache": "ok"}}
CONTRACT = {"/health": LIVE, "/health/db": CONNECTED, "/health/ready": READY}
PATHS = [path + slash for path in CONTRACT for slash in ("", "/")]
METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.fixture(autouse=True)
def behind_a_load_balancer(settings):
    """No answer may depend on these, nor on what is in the database of the test."""
    settings.ALLOWED_HOSTS = ["kvb.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    settings.DEPLOY_OPS_READINESS_CHECKS = ["database", "cache"]


@pytest.fixture
def unreachable(monkeypatch):
    """A database that does not answer, for reasons that nobody outside may read."""

    def fail():
        raise OSError("10.0.0.7:5432 refused anna with password geheim")

    probe = Probe("database", fail)
    monkeypatch.setattr(answers, "DATABASE", probe)


@pytest.mark.parametrize("path", PATHS)
def test_get_and_head(path):
    got, head = Client().get(path), Client().head(path)
    assert (got.status_code, got.json()) == (200, CONTRACT[path.rstrip("/")])
    assert dict(got.headers) == {
        "Content-Type": "application/json",
        "Content-Length": str(len(got.content)),
        "Cache-Control": "no-store",
    }
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers
    assert not got.cookies


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_not_allowed(path, method):
    response = Client(enforce_csrf_checks=True).generic(method, path)
    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["Allow"] == "GET, HEAD"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host", ["10.0.3.7:8000", "kvb.example.org", "evil\r\nname", "", "a" * 300]
)
def test_any_host_by_plain_http_without_a_line_in_the_log(path, host, caplog):
    with caplog.at_level(logging.DEBUG):
        response = Client().get(path, headers={"host": host})
    assert (response.status_code, response.json()) == (200, CONTRACT[path.rstrip("/")])
    assert [record for record in caplog.records if record.name != "asyncio"] == []


@pytest.mark.parametrize(
    "path",
    ["/health/x", "/healthy", "/HEALTH/", "/health//", "//health/", "/x/health/", "/health/db/x"],
)
def test_only_the_whole_path_counts(path):
    passed_on = HealthMiddleware(lambda request: HttpResponse("passed on"))
    assert passed_on(RequestFactory().get(path)).content == b"passed on"
    request = RequestFactory().get("/health/")
    assert passed_on(request).content != b"passed on"


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_the_request_comes_back(path):
    marked = {"x-request-id": "geheim", "accept": "text/geheim", "cookie": "geheim=geheim"}
    response = Client().get(f"{path}?geheim=geheim&format=html", headers=marked)
    assert b"geheim" not in response.serialize()
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
def test_session_and_database_are_left_alone(path, db, django_assert_num_queries):
    client = Client()
    client.force_login(User.objects.create(username="anna"))
    with django_assert_num_queries(0):
        response = client.get(path)
    assert response.status_code == 200
    assert not response.has_header("Vary") and not response.cookies


def test_database_that_does_not_answer_is_no_news_for_outsiders(unreachable, caplog):
    responses = [Client().get("/health/db/") for _ in range(3)]
    assert [response.status_code for response in responses] == [503] * 3
    assert [response.json() for response in responses] == [UNAVAILABLE] * 3
    # One line with the reason, and nothing at ERROR for every poll, which would mail ADMINS.
    [record] = caplog.records
    assert record.name == "deploy_ops.health" and "10.0.0.7" in record.getMessage()
    assert Client().get("/health/").json() == LIVE


def test_middleware_is_first_in_the_project():
    assert django_settings.MIDDLEWARE[0] == "deploy_ops.health.middleware.HealthMiddleware"


@pytest.mark.parametrize("path", PATHS)
def test_same_under_asgi(path):
    async def ask():
        client = AsyncClient()
        return await client.get(path), await client.head(path), await client.post(path)

    got, head, post = asyncio.run(ask())
    assert (got.status_code, got.json()) == (200, CONTRACT[path.rstrip("/")])
    assert (head.status_code, head.content) == (200, b"")
    assert (post.status_code, post.headers["Allow"]) == (405, "GET, HEAD")


def test_liveness_takes_no_thread_and_no_turn_of_the_event_loop():
    async def application(_request):
        raise AssertionError("passed on")

    coroutine = HealthMiddleware(application)(RequestFactory().get("/health/"))
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)  # runs to its end without an event loop
    assert finished.value.value.status_code == 200


def test_event_loop_goes_on_while_polls_wait_for_the_database(monkeypatch):
    from threading import Event
    from time import monotonic

    release = Event()
    monkeypatch.setattr(answers, "DATABASE", Probe("database", lambda: release.wait(10)))

    async def ask():
        client, started = AsyncClient(), monotonic()
        waiting = [asyncio.create_task(client.get("/health/db/")) for _ in range(50)]
        await asyncio.sleep(0.1)
        assert (await client.get("/health/")).status_code == 200
        took = monotonic() - started
        release.set()
        return took, {response.status_code for response in await asyncio.gather(*waiting)}

    took, statuses = asyncio.run(ask())
    assert took < 1.0 and statuses == {200}


def test_every_poll_has_a_path_with_and_without_slash():
    assert set(poll_paths()) == set(PATHS)
