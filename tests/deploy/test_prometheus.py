"""deploy/prometheus: what promtool takes, alerts that ring when they should, and their pages."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.promql import metrics_of
from tests.docs.test_reference import anchors
from tests.programs import find_program
from tests.project.runner import REPOSITORY

FILES = REPOSITORY / "deploy" / "prometheus"
PAGES = "https://git.example.org/kvb-admin/"
TOKEN_FILE = "/etc/prometheus/kvb-admin.token"
RULES = [
    rule
    for group in yaml.safe_load((FILES / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
TESTS = sorted(FILES.glob("*_test.yml"))


def promtool(*arguments: str | Path) -> str:
    argv = [find_program("promtool"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_configuration_and_its_rules(tmp_path):
    text = (FILES / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "token").write_text("secret")
    assert TOKEN_FILE in text
    (tmp_path / "prometheus.yml").write_text(text.replace(TOKEN_FILE, str(tmp_path / "token")))
    (tmp_path / "alerts.yml").write_text((FILES / "alerts.yml").read_text(encoding="utf-8"))
    told = promtool("check", "config", tmp_path / "prometheus.yml")
    assert f"{len(RULES)} rules found" in told


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_say_what_they_should(path):
    promtool("test", "rules", path)


def test_every_alert_is_heard_and_is_silent_in_a_test():
    heard, silent = set(), set()
    for path in TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for each in test["alert_rule_test"]:
                (heard if each["exp_alerts"] else silent).add(each["alertname"])
    assert heard == silent == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_section_that_says_what_to_do(name):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    page, _, anchor = rule["annotations"]["runbook_url"].removeprefix(PAGES).partition("#")
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert page.startswith(("docs/howto/", "docs/betrieb/")) and anchor in anchors(text)
    (section,) = (each for each in text.split("\n### ") if anchor in anchors(f"# {each}"))
    assert f"`{name}`" in section


def test_the_page_explains_no_alert_that_is_not_there():
    page = (REPOSITORY / "docs/howto/alerts-and-dashboard.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(KvbAdmin\w+)`", page)) == ALERTS.keys()


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (a) (rate(x_total{job="b", c=~"d.*"}[5m])) / on (e) group_left (f) y', {"x_total", "y"}),
        ("time() - max(last_seconds) > 26 * 3600 and on () up == bool 1", {"last_seconds", "up"}),
        ("histogram_quantile(0.95, sum by (le) (rate(z_bucket[1h] offset 1d))) or vector(1e3)", {"z_bucket"}),
        ("job:errors:ratio_rate5m\n  unless on (a) b # not_this", {"job:errors:ratio_rate5m", "b"}),
        ('label_replace(m, "to", "$1", "from", "(.*)")', {"m"}),
    ],
)  # fmt: skip
def test_names_of_metrics_are_found_in_expressions(expression, names):
    assert metrics_of(expression) == names
