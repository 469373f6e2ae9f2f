"""What production says in its headers, through both of Django's interfaces."""

import pytest

from tests.conftest import scratch_database
from tests.kvb.production import Production

OF_GUNICORN = {"server", "date", "connection"}
OF_A_POLL = {"content-type", "content-length", "cache-control"}


@pytest.fixture(scope="module")
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture(scope="module", params=["gthread", "asgi"])
def production(request, database, tmp_path_factory):
    directory = tmp_path_factory.mktemp("headers")
    server = Production(directory, database.url, "--worker-class", request.param)
    server.manage("migrate", "-v0")
    with server:
        yield server


def headers_of(answer) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def test_page_has_the_headers_that_protect_its_reader(production):
    answer = production.visit("/anmelden/")
    headers = headers_of(answer)
    assert answer.status == 200
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert "; Secure" in headers["set-cookie"] and "; SameSite=Lax" in headers["set-cookie"]


@pytest.mark.parametrize("path", ["/health/", "/health/db/", "/health/ready/"])
def test_poll_has_what_it_needs_and_nothing_else(production, path):
    answer = production.get(path, Host="10.0.3.7:8000", Cookie="sessionid=x; csrftoken=y")
    headers = headers_of(answer)
    assert answer.status == 200, answer.content
    assert set(headers) == OF_GUNICORN | OF_A_POLL
    assert headers["cache-control"] == "no-store"


def test_metrics_are_read_through_both_interfaces(production):
    assert b"deploy_ops_build_info" in production.get("/metrics").content
