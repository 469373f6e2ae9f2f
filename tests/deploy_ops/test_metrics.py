"""Who may read /metrics and how, without a server in between."""

import logging
import time
from datetime import UTC, date, datetime

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client, RequestFactory

from deploy_ops.audit import AUDIT, Event, Kind, Outcome, record_event
from deploy_ops.checks import check_settings
from deploy_ops.flags.declaration import Flag
from deploy_ops.metrics import exposition
from deploy_ops.metrics.access import is_allowed
from deploy_ops.metrics.reading import Source
from deploy_ops.models import FlagState

TOKEN = "b3" * 20
LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture
def token_file(tmp_path, settings):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    settings.DEPLOY_OPS_METRICS_TOKEN_FILE = str(path)
    return path


def asked(address: str = "203.0.113.9", **headers: str) -> bool:
    meta = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return is_allowed(RequestFactory().get("/metrics", REMOTE_ADDR=address, **meta))


def test_nobody_is_allowed_unless_somebody_is_named():
    assert not asked("127.0.0.1")


@pytest.mark.parametrize(
    "address, is_in",
    [
        ("10.20.3.4", True),
        ("10.21.0.1", False),
        ("::ffff:10.20.3.4", True),  # IPv4 seen by a server that listens on [::]
        ("2001:db8::7", True),
        ("2001:db9::7", False),
        ("", False),  # a unix socket
    ],
)
def test_network_is_that_of_the_connection(settings, address, is_in):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = ["10.20.0.0/16", "2001:db8::/32"]
    assert asked(address) is is_in


def test_forwarded_address_is_never_believed(settings):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = ["10.20.0.0/16"]
    assert not asked("203.0.113.9", x_forwarded_for="10.20.3.4")


@pytest.mark.parametrize(
    "header", ["x_forwarded_for", "x_forwarded_proto", "x_real_ip", "forwarded", "via"]
)
def test_address_of_a_proxy_vouches_for_nobody(settings, header):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = LOOPBACK
    assert asked("127.0.0.1") and not asked("127.0.0.1", **{header: "203.0.113.9"})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_token_opens_from_anywhere(token_file, scheme):
    assert asked(authorization=f"{scheme} {TOKEN}", x_forwarded_for="203.0.113.9")


@pytest.mark.parametrize(
    "given", ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", "Bearer ÿ€"]
)
def test_anything_else_does_not(token_file, given):
    assert not asked(authorization=given)


def test_token_can_be_replaced_while_running(token_file):
    token_file.write_text("c4" * 20)
    assert not asked(authorization=f"Bearer {TOKEN}")
    assert asked(authorization=f"Bearer {'c4' * 20}")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda path: path.chmod(0o640), "is open to other users (mode 0640)"),
        (lambda path: path.write_text("short"), "has fewer than 32 characters"),
        (lambda path: path.write_text(""), "has fewer than 32 characters"),
        (lambda path: path.unlink(), "cannot be read: FileNotFoundError"),
        (lambda path: path.write_bytes(b"\xff" * 40), "cannot be read: UnicodeDecodeError"),
    ],
)
def test_invalid_token_file_opens_to_nobody_and_says_why_in_the_log(
    token_file, caplog, spoil, words
):
    spoil(token_file)
    assert not asked(authorization=f"Bearer {TOKEN}")
    assert words in caplog.text and TOKEN not in caplog.text


def test_invalid_network_opens_to_nobody_and_is_found_by_the_checks(settings, caplog):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = ["10.20.0.1/16"]
    assert not asked("10.20.0.1")
    assert "wants networks such as 10.20.0.0/16" in caplog.text
    assert [found.id for found in check_settings()] == ["deploy_ops.C003"]


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_refusal_is_empty_whatever_is_asked(client, method, path):
    response = getattr(client, method)(path)
    assert (response.status_code, response.content) == (403, b"")
    assert response["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_methods_for_those_who_are_allowed(client, settings, monkeypatch):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = LOOPBACK
    assert client.get("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert client.head("/metrics").content == b""
    monkeypatch.setattr(exposition, "page", None)  # a HEAD needs nobody to read anything
    assert client.head("/metrics").status_code == 200
    refused = client.post("/metrics")
    assert (refused.status_code, refused["Allow"]) == (405, "GET, HEAD")


@pytest.mark.django_db
def test_any_host_over_plain_http(settings):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = LOOPBACK
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["kvb.example.org"]
    assert Client(headers={"host": "10.0.3.7:8000"}).get("/metrics").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/metrics/more", "/metric", "/METRICS"])
def test_other_paths_are_not_its_business(client, path, settings):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = LOOPBACK
    assert client.get(path).status_code == 404


async def _ask_twice(client: AsyncClient) -> tuple[int, int]:
    return (await client.get("/metrics")).status_code, (await client.get("/nothing")).status_code


@pytest.mark.django_db(transaction=True)
def test_asgi(settings):
    settings.DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = LOOPBACK
    assert async_to_sync(_ask_twice)(AsyncClient()) == (200, 404)


def test_source_that_hangs_or_fails_costs_a_second_and_keeps_its_last_values(monkeypatch, settings):
    def hang():
        time.sleep(3)
        yield from ()

    def fail():
        raise OSError("the disk is gone")
        yield

    settings.DEPLOY_OPS_READINESS_CHECKS = ["cache"]
    flaky = Source("flaky", lambda: iter(exposition.collectors.build()))
    sources = {"slow": Source("slow", hang), "broken": Source("broken", fail), "flaky": flaky}
    monkeypatch.setattr(exposition, "SOURCES", sources)
    assert b'metrics_source_up{source="flaky"} 1.0' in exposition.page()
    flaky._read = fail
    started = time.monotonic()
    text = exposition.page().decode()
    assert time.monotonic() - started < 1.5
    for name in sources:
        assert f'deploy_ops_metrics_source_up{{source="{name}"}} 0.0' in text
    assert text.count("deploy_ops_build_info{") == 2  # its own, and what flaky said before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "value, ratio, origin",
    [("true", 1.0, "environment"), ("off", 0.0, "environment"), ("5%", 0.05, "environment")],
)
def test_flag_shows_how_far_it_is_rolled_out(settings, monkeypatch, value, ratio, origin):
    monkeypatch.setenv("ENABLE_BETA", value)
    settings.DEPLOY_OPS_FLAGS = {"beta": Flag("a try", owner="us")}
    (gauge,) = exposition.collectors.flags()
    assert [(sample.labels, sample.value) for sample in gauge.samples] == [
        ({"flag": "beta", "origin": origin}, ratio)
    ]


@pytest.mark.django_db(transaction=True)
def test_flag_that_nobody_touched_has_its_default(settings):
    settings.DEPLOY_OPS_FLAGS = {"beta": Flag("a try", owner="us", default=True)}
    (gauge,) = exposition.collectors.flags()
    assert [(sample.labels["origin"], sample.value) for sample in gauge.samples] == [
        ("default", 1.0)
    ]


def test_project_without_flags_is_not_asked_for_tables(settings):
    settings.DEPLOY_OPS_FLAGS = {}
    (gauge,) = exposition.collectors.flags()  # pytest-django fails a query here
    assert gauge.samples == []


@pytest.mark.django_db(transaction=True)
def test_flag_that_somebody_should_have_removed_is_stale(settings):
    settings.DEPLOY_OPS_FLAGS = {
        "old": Flag("done", owner="us", remove_by=date(2020, 1, 1)),
        "beta": Flag("a try", owner="us", remove_by=date(2999, 1, 1)),
    }
    FlagState.objects.create(name="forgotten", revision=1)
    (gauge,) = exposition.collectors.stale_flags()
    assert {sample.labels["flag"]: sample.value for sample in gauge.samples} == {
        "old": 1,
        "beta": 0,
        "forgotten": 1,
    }


def test_project_without_flags_has_no_stale_ones(settings):
    settings.DEPLOY_OPS_FLAGS = {}
    (gauge,) = exposition.collectors.stale_flags()  # pytest-django fails a query here
    assert gauge.samples == []


def test_last_event_of_each_kind_and_outcome(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path
    for hour, outcome, version in (
        (8, Outcome.DONE, "1.2.2"),
        (9, Outcome.STARTED, "1.2.3"),
        (10, Outcome.FAILED, "1.2.3"),
        (11, Outcome.DONE, "1.2.4"),
    ):
        at = f"2026-11-28T{hour:02}:00:00+00:00"
        record_event(tmp_path, Event(Kind.DEPLOYMENT, outcome, version, by="anna", at=at))
    (gauge,) = exposition.collectors.events()
    assert {tuple(sample.labels.values()): sample.value for sample in gauge.samples} == {
        ("deployment", "started", "1.2.3"): datetime(2026, 11, 28, 9, tzinfo=UTC).timestamp(),
        ("deployment", "failed", "1.2.3"): datetime(2026, 11, 28, 10, tzinfo=UTC).timestamp(),
        ("deployment", "done", "1.2.4"): datetime(2026, 11, 28, 11, tzinfo=UTC).timestamp(),
    }


def test_damaged_audit_hides_nothing_else(settings, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path
    assert [metric.samples for metric in exposition.collectors.events()] == [[]]
    for at in ("yesterday", 7):
        record_event(tmp_path, Event(Kind.CANARY, Outcome.DONE, "1.2.3", by="anna", at=at))
    record_event(tmp_path, Event(Kind.RESTORE, Outcome.DONE, "1.2.3", by="anna"))
    with (tmp_path / AUDIT).open("a", encoding="utf-8") as file:
        file.write('{"kind": "dep')
    (gauge,) = exposition.collectors.events()
    assert [sample.labels["kind"] for sample in gauge.samples] == ["restore"]


def test_unreadable_catalog_does_not_hide_the_rest(settings, tmp_path, caplog):
    settings.DEPLOY_OPS_BACKUP_DIR = tmp_path / "open"
    settings.DEPLOY_OPS_BACKUP_DIR.mkdir(mode=0o755)
    settings.DEPLOY_OPS_READINESS_CHECKS = ["cache"]
    exposition.SOURCES["backups"].probe.forget()
    caplog.set_level(logging.INFO)
    text = exposition.page().decode()
    assert 'deploy_ops_metrics_source_up{source="backups"} 0.0' in text
    assert "deploy_ops_build_info{" in text
    assert "is open to other users" in caplog.text
    exposition.SOURCES["backups"].probe.forget()
