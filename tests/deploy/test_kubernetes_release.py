"""deploy/kubernetes/release with a kubectl that renders and for the rest only notes what it is asked."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.deploy.commands import parse_command
from tests.project.runner import REPOSITORY

KUBECTL = """#!{python}
import json, os, sys
from pathlib import Path

here, argv = Path(__file__).parent, sys.argv[1:]
if argv[0] == "kustomize":
    os.execv("{kubectl}", ["kubectl", *argv])
with open(here / "asked.jsonl", "a") as file:
    print(json.dumps(argv), file=file)
if argv[0] == "apply":
    (here / "applied.yaml").write_text(sys.stdin.read())
line = " ".join(argv)
state = json.loads((here / "state.json").read_text())
if argv[0] == "get":
    print(state["there"] if line.endswith("--output name") else state["outcome"])
if line.startswith("delete job"):
    state |= {{"outcome": state["ends"]}}
    (here / "state.json").write_text(json.dumps(state))
sys.exit(line.startswith(state["failing"]) if state["failing"] else 0)
"""
DONE = {"there": "", "outcome": "", "ends": "SuccessCriteriaMet Complete", "failing": ""}


@pytest.fixture
def release(tmp_path):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("NOT RENDERED BY KUSTOMIZE: kubectl is not here")
    (tmp_path / "kubectl").write_text(KUBECTL.format(python=sys.executable, kubectl=kubectl))
    (tmp_path / "kubectl").chmod(0o755)

    def run(name, **state):
        (tmp_path / "state.json").write_text(json.dumps(DONE | state))
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        argv = [REPOSITORY / "deploy" / "kubernetes" / "release", name]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        asked = tmp_path / "asked.jsonl"
        lines = asked.read_text().splitlines() if asked.exists() else []
        return done, [" ".join(json.loads(line)) for line in lines]

    return run


def steps(asked):
    return [line.rpartition("=")[2] for line in asked if line.startswith("apply")]


def test_only_what_expanded_is_rolled_out(release):
    done, asked = release("production")
    assert done.returncode == 0, done.stderr
    assert steps(asked) == ["prepare", "expand", "serve"]
    assert asked.index("delete job expand --namespace kvb-admin --ignore-not-found") < next(
        i for i, line in enumerate(asked) if line.endswith("step=expand")
    )
    commands = [line.split(" -- ")[1] for line in asked if line.startswith("exec")]
    assert [parse_command(line.split()) for line in commands] == ["smoke_test", "postdeploy"]
    assert commands[-1].endswith("--url https://kvb.example.org")


def test_staging_is_another_namespace_and_name(release):
    _, asked = release("staging")
    assert all("kvb-admin-staging" in line for line in asked if not line.startswith("apply"))
    assert asked[-1].endswith("--url https://staging.kvb.example.org")


def test_a_canary_expands_by_its_own_job_and_touches_nothing_else(release, tmp_path):
    done, asked = release("canary")
    assert done.returncode == 0, done.stderr
    assert steps(asked) == ["expand", "serve"]
    applied = yaml.safe_load_all((tmp_path / "applied.yaml").read_text())
    assert {each["metadata"]["name"] for each in applied} == {"expand-canary", "web-canary"}
    assert not any("postdeploy" in line for line in asked)


def test_what_does_not_expand_is_not_rolled_out(release):
    done, asked = release("production", ends="FailureTarget Failed")
    assert done.returncode == 1
    assert "Nothing was rolled out: what served serves." in done.stderr
    assert steps(asked) == ["prepare", "expand"]


def test_an_expand_that_is_at_work_is_left_alone(release):
    done, asked = release("production", there="job.batch/expand")
    assert done.returncode == 1
    assert "is at work. Nothing was changed." in done.stderr
    assert all(line.startswith("get") for line in asked)


@pytest.mark.parametrize(
    ("failing", "said"),
    [("rollout", "The pods before serve on"), ("exec", "gets requests and does not work")],
)
def test_the_way_back_is_told(release, failing, said):
    done, _ = release("production", failing=failing)
    assert done.returncode == 1
    assert said in done.stderr
    assert "kubectl rollout undo deployment/web --namespace kvb-admin" in done.stderr


@pytest.mark.parametrize("name", ["", "dev", "../overlays/production"])
def test_only_what_there_is_is_released(release, name):
    done, asked = release(name)
    assert (done.returncode, asked) == (2, [])
