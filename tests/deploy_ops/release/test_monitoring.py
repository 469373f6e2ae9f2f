"""What is read from an instance's metrics, and compared with those of the release before."""

import socketserver
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from django.core.checks import INFO, WARNING

from deploy_ops.errors import UsageError
from deploy_ops.release.host.figures import Figures
from deploy_ops.release.monitoring import (
    Before,
    compare,
    figures_before,
    keep_figures,
    look_at_metrics,
)

TOKEN = "t" * 40
PAGE = """
# TYPE django_http_requests_latency_including_middlewares_seconds histogram
django_http_requests_latency_including_middlewares_seconds_bucket{le="0.1"} 90
django_http_requests_latency_including_middlewares_seconds_bucket{le="1.0"} 100
django_http_requests_latency_including_middlewares_seconds_bucket{le="+Inf"} 100
# TYPE django_http_responses_total_by_status_total counter
django_http_responses_total_by_status_total{status="200"} 99
django_http_responses_total_by_status_total{status="500"} 1
# TYPE deploy_ops_build_info gauge
deploy_ops_build_info{version="1.2.2"} 1
# TYPE deploy_ops_health_check_up gauge
deploy_ops_health_check_up{check="database"} 1
# TYPE deploy_ops_metrics_source_up gauge
deploy_ops_metrics_source_up{source="backups"} 1
"""
FIGURES = Figures(100, 1, ((0.1, 90.0), (1.0, 100.0), (float("inf"), 100.0)))


class Page(BaseHTTPRequestHandler):
    """Whoever brings the token gets the text of the server."""

    def do_GET(self):
        is_allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
        self.send_response(200 if is_allowed and self.path == "/metrics" else 403)
        self.end_headers()
        if is_allowed:
            self.wfile.write(self.server.text.encode())

    def log_message(self, *_):
        pass

    def address_string(self):
        return "a socket"


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """The same on a unix socket."""


@contextmanager
def served(server, text=PAGE):
    server.text = text
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def token(settings, tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    settings.DEPLOY_OPS_METRICS_TOKEN_FILE = path
    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "state"
    return path


@pytest.fixture
def server():
    return ThreadingHTTPServer(("127.0.0.1", 0), Page)


def url_of(server):
    return f"http://127.0.0.1:{server.server_port}/metrics"


def messages(findings):
    assert {each.id for each in findings} == {"deploy_ops.R017"}
    return [(each.level, each.msg) for each in findings]


def test_a_page_that_has_everything(server):
    with served(server):
        page, findings = look_at_metrics(url_of(server))
    assert findings == []
    assert page.version == "1.2.2"
    assert page.figures == FIGURES


def test_the_same_on_a_socket(tmp_path):
    path = tmp_path / "current.sock"
    with served(UnixServer(str(path), Page)):
        page, findings = look_at_metrics(f"http+unix://{quote(str(path), safe='')}/metrics")
    assert findings == []
    assert page.figures == FIGURES


def test_metrics_that_are_not_there(server):
    text = PAGE.replace("deploy_ops_health_check_up", "other").replace(
        '"backups"} 1', '"backups"} 0'
    )
    with served(server, text):
        page, findings = look_at_metrics(url_of(server))
    assert page is not None
    [(_, missing), (_, unread)] = messages(findings)
    assert missing.endswith("lacks metrics that alerts rely on: deploy_ops_health_check_up.")
    assert unread.endswith("could not read the metrics of: backups.")
    assert {each.level for each in findings} == {WARNING}


def test_a_status_is_only_missed_where_somebody_was_answered(server):
    lines = [line for line in PAGE.splitlines() if "by_status" not in line]
    idle = [line.replace(" 90", " 0").replace(" 100", " 0") for line in lines]
    with served(server, "\n".join([*idle, ""])):
        assert look_at_metrics(url_of(server))[1] == []
        server.text = "\n".join([*lines, ""])
        [(_, told)] = messages(look_at_metrics(url_of(server))[1])
    assert "django_http_responses_total_by_status" in told


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("closed", "no answer"),
        ("token", "403 instead of 200"),
        ("open token", "is open to other users"),
        ("text", "does not answer with metrics"),
        ("package", "pip install 'deploy-ops[metrics]'"),
    ],
)
def test_monitoring_that_is_blind(server, token, fault, said, monkeypatch):
    if fault == "token":
        token.write_text("x" * 40)
    elif fault == "open token":
        token.chmod(0o644)
    elif fault == "package":
        monkeypatch.setitem(sys.modules, "prometheus_client.parser", None)
    url = url_of(server)
    if fault == "closed":
        server.server_close()
        page, findings = look_at_metrics(url)
    else:
        with served(server, "<html>" if fault == "text" else PAGE):
            page, findings = look_at_metrics(url)
    assert page is None
    [(level, told)] = messages(findings)
    assert level == WARNING
    assert said in told
    assert TOKEN not in told


def test_nobody_asks():
    page, findings = look_at_metrics(None)
    assert page is None
    [(level, told)] = messages(findings)
    assert level == INFO
    assert "is not known" in told


def test_an_address_that_is_none():
    with pytest.raises(UsageError):
        look_at_metrics("kvb.example.org/metrics")


def test_what_is_kept_is_read_again(server, tmp_path):
    assert figures_before() is None
    with served(server):
        page, _ = look_at_metrics(url_of(server))
    keep_figures(page)
    before = figures_before()
    assert (before.version, before.figures) == ("1.2.2", FIGURES)
    path = tmp_path / "state" / "metrics-before.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text('{"version": 1}')
    assert figures_before() is None


@pytest.mark.parametrize(
    ("figures", "level", "said"),
    [
        (FIGURES, INFO, "100 requests, 1.0% of them errors, 95 of 100 within 1 s. 1.2.2 had until"),
        (Figures(100, 30, FIGURES.buckets), WARNING, "30.0% of 100 answers are errors"),
        (
            Figures(100, 1, ((1.0, 90.0), (5.0, 100.0))),
            WARNING,
            "end within 5 s, within 1 s before",
        ),
        (Figures(10, 5, FIGURES.buckets), INFO, "too few to compare"),
    ],
)
def test_beside_the_release_before(server, figures, level, said):
    with served(server):
        page, _ = look_at_metrics(url_of(server))
    before = Before("1.2.2", "2026-11-28T00:00:00+00:00", FIGURES)
    finding = compare(replace(page, figures=figures), before)
    assert (finding.id, finding.level) == ("deploy_ops.R019", level)
    assert said in finding.msg
    alone = compare(page, None)
    assert alone.level == INFO
    assert "nothing from before to compare with" in alone.msg
