"""Prometheus with the shipped files reads two colours through nginx; the dashboard asks it."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from deploy_ops.audit import Event, Kind, Outcome, record_event
from tests.clusters import free_port
from tests.conftest import scratch_database
from tests.deploy.promql import metrics_of
from tests.deploy.site import NAME, Site, serving
from tests.deploy.test_prometheus import FILES, RULES, TOKEN_FILE, promtool
from tests.kvb.production import Production
from tests.programs import find_program
from tests.project.runner import REPOSITORY

DASHBOARD = json.loads((REPOSITORY / "deploy/grafana/kvb-admin.json").read_text(encoding="utf-8"))
TARGETS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
MARKS = [mark["expr"] for mark in DASHBOARD["annotations"]["list"]]
EXPRESSIONS = [*TARGETS, *MARKS]
OF_PROMETHEUS = {"up", "ALERTS"}
OF_BLACKBOX = {"probe_success", "probe_ssl_earliest_cert_expiry"}
FROM_INSIDE = [each for each in EXPRESSIONS if not metrics_of(each) & OF_BLACKBOX]
TOKEN = "d1" * 20
COLOURS = {"blue": "1.2.3", "green": "1.2.4"}
WAITING = """
    INSERT INTO deploy_ops_contractrow (app, migration, path, relation, operation, description,
        release, created_at, skipped_because, attempts, last_error)
    VALUES ('reisekosten', '0001_initial', '0', 'reisekosten_fahrt', '', '', '1.2.2', now(), '', 0, '')
"""
BACKFILL = """
    INSERT INTO deploy_ops_backfillprogress (name, relation, description, rows_total, rows_read,
        rows_written, release, created_at, started_at, updated_at, waits_for, last_error)
    VALUES ('reisekosten.0002#0', 'reisekosten_fahrt', '', 9, 3, 3, '', now(), now(), now(), '', '')
"""


class Colour(Production):
    """A release on the socket of its colour."""

    def __init__(self, directory, url, colour, sockets, **env):
        (directory / colour).mkdir()
        env |= {"KVB_DATA_DIR": str(directory), "DEPLOY_OPS_STATE_DIR": str(directory)}
        super().__init__(directory / colour, url, APP_VERSION=COLOURS[colour], **env)
        self.argv += ["--bind", f"unix:{sockets}/{colour}.sock"]


class Host(Site):
    """nginx before colours that are started by themselves."""

    def start_applications(self):
        return {}


class Prometheus:
    """What runs, and how it is asked."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path, **query):
        url = f"{self.address}/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression):
        """Of each series that the expression has now."""
        found = self.ask("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def is_up(self):
        try:
            return bool(self.values('up{job="kvb-admin"}'))
        except OSError:
            return False


def wait_until(is_so, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@contextmanager
def running(argv, log):
    with log.open("wb") as file:
        process = subprocess.Popen(argv, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture(scope="module")
def host(database, tmp_path_factory):
    """Both colours at work, and something of everything that there are metrics of."""
    directory = tmp_path_factory.mktemp("host")
    token = directory / "metrics.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    site = Host(tmp_path_factory.mktemp("nginx"))
    env = {"DEPLOY_OPS_METRICS_TOKEN_FILE": str(token), "DEPLOY_OPS_METRICS_ALLOWED_NETWORKS": ""}
    colours = [Colour(directory, database.url, name, site.sockets, **env) for name in COLOURS]
    colours[0].manage("migrate", "-v0")
    colours[0].manage("backup")
    for statement in (WAITING, BACKFILL):
        database.execute(statement)
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    record_event(directory, Event(Kind.DEPLOYMENT, Outcome.DONE, "1.2.2", by="anna", at=before))
    record_event(directory, Event(Kind.DEPLOYMENT, Outcome.FAILED, "1.2.3", by="anna"))
    with colours[0], colours[1], serving(site):
        site.colours, site.token = colours, token
        yield site


@pytest.fixture(scope="module")
def prometheus(host, tmp_path_factory):
    """With the shipped files, but more often, and other places."""
    program, directory = find_program("prometheus"), tmp_path_factory.mktemp("prometheus")
    for name in ("prometheus.yml", "alerts.yml"):
        text = (FILES / name).read_text(encoding="utf-8")
        text = re.sub(r"interval: (15s|1m)$", "interval: 1s", text, flags=re.M)
        text = text.replace(TOKEN_FILE, str(host.token))
        (directory / name).write_text(text.replace("127.0.0.1:8000", f"127.0.0.1:{host.local}"))
    port = free_port()
    argv = [program, f"--config.file={directory}/prometheus.yml"]
    argv += [f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"]
    made = Prometheus(port)
    with running(argv, directory / "log"):
        wait_until(made.is_up)
        yield made


def scraped(host, colour):
    status, _, text = host.plain(
        host.local, f"/metrics/{colour}", "localhost", Authorization=f"Bearer {TOKEN}"
    )
    assert status == 200
    return text


def test_every_metric_of_the_dashboard_and_the_alerts_is_exported(host):
    """One that has no sample yet counts: a counter of errors begins with the first of them."""
    for colour in host.colours:
        colour.visit("/query/")
        colour.visit("/fail/")
    text = scraped(host, "blue") + scraped(host, "green")
    exported = set(re.findall(r"^([a-z]\w*)[{ ]", text, re.M)) | set(
        re.findall(r"^# TYPE (\w+) ", text, re.M)
    )
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    asked = set().union(*map(metrics_of, [*EXPRESSIONS, *(rule["expr"] for rule in RULES)]))
    assert asked - recorded - OF_PROMETHEUS - OF_BLACKBOX - exported == set()
    assert "django_http_responses_total_by_status_total" in asked & exported


def test_who_brings_no_token_learns_nothing_on_the_host_either(host):
    assert host.plain(host.local, "/metrics/blue", "localhost")[0] == 403


def test_prometheus_knows_which_colour_has_which_version(prometheus, host):
    wait_until(lambda: len(prometheus.values("colour:kvb_version:info")) == 2)
    found = {
        labels["colour"]: labels["version"]
        for labels, _ in prometheus.values("colour:kvb_version:info")
    }
    assert found == COLOURS
    assert {value for _, value in prometheus.values('up{job="kvb-admin"}')} == {1}


@pytest.mark.parametrize("expression", FROM_INSIDE)
def test_everything_on_the_dashboard_has_a_value(prometheus, host, expression):
    def has_values():
        for colour in host.colours:
            colour.visit("/query/")
            colour.visit("/fail/")
        values = [value for _, value in prometheus.values(expression)]
        return values and all(value == value for value in values)  # no NaN

    wait_until(has_values)


def test_errors_are_counted_for_the_version_that_made_them(prometheus, host):
    blue, green = host.colours

    def shares():
        blue.visit("/query/")
        green.visit("/fail/")
        found = prometheus.values("version:kvb_errors:rate5m")
        return {labels["version"]: value for labels, value in found}

    before = shares()
    wait_until(lambda: shares().get("1.2.4", 0) > before.get("1.2.4", 0) + 0.02)


def test_rules_are_evaluated_without_an_error(prometheus, host):
    def evaluated():
        groups = prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        is_done = all(rule["health"] != "unknown" for rule in rules)
        return rules if is_done and len(rules) == len(RULES) else None

    rules = wait_until(evaluated)
    assert [rule for rule in rules if rule["health"] != "ok"] == []


def test_alert_of_a_deployment_that_failed_rings(prometheus, host):
    """For real, with the labels that reach Alertmanager."""
    (alert,) = wait_until(
        lambda: [
            each["labels"]
            for each in prometheus.ask("alerts")["alerts"]
            if each["labels"]["alertname"] == "KvbAdminDeploymentFailed"
        ]
    )
    assert alert["version"] == "1.2.3" and alert["severity"] == "ticket"


def test_every_expression_of_the_dashboard_is_one(tmp_path):
    rules = [
        {"record": f"dashboard:{number}", "expr": expression}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(EXPRESSIONS)} rules found" in promtool("check", "rules", path)


def test_panels_have_their_own_places():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_marks_of_deployments_stand_where_the_audit_has_them():
    """Grafana wants milliseconds for the value of a series as a time."""
    for mark in DASHBOARD["annotations"]["list"]:
        assert mark["useValueForTime"] is True and mark["expr"].endswith(" * 1000")
        assert "deploy_ops_event_last_timestamp_seconds" in metrics_of(mark["expr"])


def test_blackbox_exporter_sees_the_page_and_its_certificate(host, tmp_path):
    program, port = find_program("prometheus-blackbox-exporter"), free_port()
    module = {
        "prober": "http",
        "http": {
            "headers": {"Host": NAME},
            "tls_config": {"server_name": NAME, "ca_file": f"{host.directory}/fullchain.pem"},
        },
    }
    config = tmp_path / "blackbox.yml"
    config.write_text(yaml.safe_dump({"modules": {"http_2xx": module}}))
    argv = [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
    query = urllib.parse.urlencode(
        {"module": "http_2xx", "target": f"https://127.0.0.1:{host.https}/health/"}
    )

    def probe():
        try:
            url = f"http://127.0.0.1:{port}/probe?{query}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return None

    with running(argv, tmp_path / "log"):
        text = wait_until(probe)
    assert "\nprobe_success 1\n" in text
    expires = float(re.search(r"^probe_ssl_earliest_cert_expiry (\S+)$", text, re.M)[1])
    assert 0 < expires - time.time() < 2 * 86400
    assert all(re.search(rf"^{name} ", text, re.M) for name in OF_BLACKBOX)
