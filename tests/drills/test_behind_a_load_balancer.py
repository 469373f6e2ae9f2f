"""One of two instances is stopped under load, behind the load balancers as the docs set them up."""

import http.client
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.clusters import free_port
from tests.conftest import scratch_database
from tests.kvb.production import HEADERS, Production
from tests.nginx import nginx_config
from tests.programs import find_program
from tests.project.runner import REPOSITORY
from tests.visitors import Visitors

PAGE = (REPOSITORY / "docs" / "howto" / "health-checks.md").read_text(encoding="utf-8")
NOTICE_SECONDS = 10

HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 60s
frontend public
    bind 127.0.0.1:{port}
    default_backend kvb
"""


@pytest.fixture(scope="module")
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture
def instances(database, tmp_path):
    """Two instances of one worker each, with the time to drain that they have by themselves."""
    Production(tmp_path, database.url).manage("migrate", "-v0")
    with ExitStack() as stack:
        servers = []
        for name in ("one", "two"):
            directory = tmp_path / name
            directory.mkdir()
            server = Production(directory, database.url, "--workers=1", DRAIN_SECONDS="5")
            servers.append(stack.enter_context(server))
        yield servers


def snippet(language: str, instances: list[Production]) -> str:
    """The example of the page with the addresses of the instances, and as if TLS ended there."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    for number, instance in enumerate(instances, 11):
        example = f"10.0.0.{number}:8000"
        assert example in found
        found = found.replace(example, f"127.0.0.1:{instance.port}")
    return found.replace("$scheme", "https")


@contextmanager
def running(directory: Path, *argv: str) -> Iterator[None]:
    log = directory / "balancer.log"
    with log.open("w") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        time.sleep(1)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_haproxy_stops_sending_before_the_instance_stops(instances, tmp_path):
    haproxy, port = find_program("haproxy"), free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port) + snippet("haproxy", instances))
    leaving, staying = instances
    with running(tmp_path, haproxy, "-db", "-f", str(config)):
        with Visitors(port, "/query/", HEADERS) as visitors:
            time.sleep(2)
            leaving.process.send_signal(signal.SIGTERM)
            assert leaving.process.wait(NOTICE_SECONDS) == 0
            time.sleep(1)
        # 403: the application itself answers a POST without a token so.
        assert set(visitors.answers) == {("GET", 200), ("POST", 403)}
        assert len(visitors.answers) > 200
        assert ask(port, "/metrics") == ask(port, "/metrics/") == 404
    assert staying.process.poll() is None


def test_nginx_hands_polls_on_and_keeps_the_inner_ones_inside(instances, tmp_path):
    nginx, port = find_program("nginx"), free_port()
    site = snippet("nginx", instances).replace(
        "server {\n", f"server {{\n    listen 127.0.0.1:{port};\n"
    )
    config = tmp_path / "nginx.conf"
    config.write_text(nginx_config(tmp_path, site))
    with running(tmp_path, nginx, "-c", str(config), "-p", str(tmp_path)):
        assert ask(port, "/health/ready/") == 200
        assert ask(port, "/health/") == ask(port, "/health/db/") == 403  # only 10.0.0.0/8
        assert ask(port, "/query/") == 200
        # Without the header of a proxy the network of nginx, which is allowed, would open it.
        assert ask(port, "/metrics") == ask(port, "/metrics/") == 404
        assert ask(port, "/metrics?x") == 404
        instances[0].process.kill()
        assert {ask(port, "/query/") for _ in range(20)} == {200}


def ask(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Host": HEADERS["Host"], "Connection": "close"})
    status = connection.getresponse().status
    connection.close()
    return status
