"""deploy/prometheus: files that Prometheus takes, and alerts on metrics that exist."""

import re
import subprocess
from pathlib import Path

from tests.programs import find_program

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "deploy" / "prometheus"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
METRIC = re.compile(r"\b(?:deploy_ops|django_http|django_db)_\w+")


def promtool(*arguments: str | Path) -> str:
    program = find_program("promtool")
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_prometheus_takes_the_configuration_and_its_rules():
    assert "SUCCESS" in promtool("check", "config", FILES / "prometheus.yml")


def test_alerts_say_what_they_should():
    promtool("test", "rules", ROOT / "tests" / "kvb" / "alerts.yml")


def test_alerts_ask_for_metrics_that_the_reference_has():
    known = set(re.findall(r"^\| `(\w+)` \|", REFERENCE.read_text(), re.M))
    asked = set(METRIC.findall((FILES / "kvb-admin.rules.yml").read_text()))
    assert {name.removesuffix("_bucket") for name in asked} <= known
