"""The workflows by their schema and by zizmor; what they start is run, with ssh as the only stand-in."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.core.checks import ERROR

from deploy_ops.release.ci_status import ci_findings, read_ci_status
from tests.programs import find_program
from tests.project.runner import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
DEPLOY = yaml.safe_load((REPOSITORY / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
JOBS = DEPLOY["jobs"]
VERSION = "v1.2.3@sha256:" + "5" * 64
COMMIT = "a" * 40
STATUS = f'{{"commit":"{COMMIT}","tests":"passed"}}'


def run_tool(name, *arguments):
    argv = [Path(sys.executable).with_name(name), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_they_are_what_github_reads():
    done = run_tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing():
    done = run_tool("zizmor", "--offline", "--no-progress", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_commit_with_their_version_beside(path):
    used = re.findall(r"uses: ([^.\s]\S*)(.*)$", path.read_text(encoding="utf-8"), re.M)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


def test_what_is_tested_is_built_once_and_goes_to_staging_before_production():
    assert JOBS["build"]["needs"] == "test"
    assert JOBS["staging"]["needs"] == ["build", "status"]
    assert JOBS["production"]["needs"] == ["build", "status", "staging"]
    builds = [name for name, job in JOBS.items() if "docker buildx build" in str(job)]
    assert builds == ["build"]
    assert JOBS["production"]["steps"] == JOBS["staging"]["steps"]
    assert [JOBS[name]["environment"] for name in ("staging", "production")] == [
        "staging", "production"
    ]  # fmt: skip


def test_nothing_is_cut_off_and_no_job_may_write():
    assert DEPLOY["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    assert DEPLOY["permissions"] == {}
    permissions = {name: job["permissions"] for name, job in JOBS.items()}
    assert permissions.pop("status") == {"actions": "read", "contents": "read"}
    assert all(each == {"contents": "read"} for each in permissions.values())


def test_no_expression_is_part_of_a_shell_line():
    steps = [step for job in JOBS.values() for step in job.get("steps", [])]
    assert steps and not [step for step in steps if "${{" in step.get("run", "")]


@pytest.fixture
def tagged(tmp_path):
    """A checkout with origin/main, and the function that asks check-tag there."""

    def git(*words):
        who = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
            "-c",
            "init.defaultBranch=main",
        ]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "one")
    git("update-ref", "refs/remotes/origin/main", "HEAD")

    def ask(tag):
        argv = [REPOSITORY / "deploy" / "ci" / "check-tag", tag]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    return git, ask


def test_an_annotated_tag_on_main_is_built(tagged):
    git, ask = tagged
    git("tag", "-a", "v1.2.3", "-m", "Release 1.2.3")
    assert ask("v1.2.3").returncode == 0


def test_other_tags_are_not(tagged):
    git, ask = tagged
    git("tag", "v1.2.3")
    assert "not annotated" in ask("v1.2.3").stderr
    git("commit", "--allow-empty", "-m", "elsewhere")
    git("tag", "-a", "v1.2.4", "-m", "Release 1.2.4")
    assert "not on main" in ask("v1.2.4").stderr
    for name in ("v1.2", "v1.2.3-rc1", "v1.02.3", ""):
        assert "it is not vMAJOR.MINOR.PATCH" in ask(name).stderr
    assert ask("v9.9.9").returncode != 0


@pytest.fixture
def sent(tmp_path):
    """deploy/ci/release with a real agent and key, and an ssh that notes what it is asked."""
    find_program("ssh-agent")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True
    )
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{tmp_path}/argv\ncat >{tmp_path}/stdin\nssh-add -l >{tmp_path}/keys\n"
        f'for word; do case $word in UserKnownHostsFile=*) cp "${{word#*=}}" {tmp_path}/known;; esac\n'
        f"done\nexit $(cat {tmp_path}/code)\n"
    )
    ssh.chmod(0o755)
    (tmp_path / "code").write_text("0")

    def run(**env):
        given = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "TMPDIR": str(tmp_path),
            "DEPLOY_HOST": "kvb.example.org",
            "DEPLOY_HOST_KEY": "kvb.example.org ssh-ed25519 AAAAC3Nza",
            "DEPLOY_KEY": (tmp_path / "key").read_text(),
            "VERSION": VERSION,
            "CI_STATUS": STATUS,
        }
        argv = [REPOSITORY / "deploy" / "ci" / "release"]
        return subprocess.run(argv, env=given | env, capture_output=True, text=True, check=False)

    return tmp_path, run


def test_the_host_gets_the_digest_that_was_built(sent):
    directory, run = sent
    done = run()
    assert done.returncode == 0, done.stderr
    argv = (directory / "argv").read_text().splitlines()
    assert argv[-2] == "deploy@kvb.example.org"
    assert argv[-1].endswith(
        f"--detach v1.2.3 && cat >ci-status.json && deploy/compose/release {VERSION}"
    )
    assert (directory / "stdin").read_text() == f"{STATUS}\n"


def test_the_host_is_known_before_and_the_key_is_nowhere(sent):
    directory, run = sent
    done = run()
    argv = (directory / "argv").read_text()
    assert "StrictHostKeyChecking=yes" in argv and "GlobalKnownHostsFile=/dev/null" in argv
    assert (directory / "known").read_text() == "kvb.example.org ssh-ed25519 AAAAC3Nza\n"
    assert "ED25519" in (directory / "keys").read_text()  # the agent has it
    secret = (directory / "key").read_text().splitlines()[1]
    assert secret not in argv + done.stdout + done.stderr
    (directory / "key").unlink()
    left = [path for path in directory.rglob("*") if path.is_file()]
    assert not [path for path in left if secret in path.read_text()]
    assert not [path for path in left if path.name.startswith("tmp.")]


def test_what_becomes_of_it_is_told(sent):
    directory, run = sent
    (directory / "code").write_text("1")
    assert run().returncode == 1


@pytest.mark.parametrize("version", ["v1.2.3", "v1.2.3@sha256:55", f"{VERSION};id", ""])
def test_only_a_version_with_its_digest_is_sent(sent, version):
    directory, run = sent
    done = run(VERSION=version)
    assert (done.returncode, (directory / "argv").exists()) == (2, False)
    assert "Nothing was deployed" in done.stderr


@pytest.mark.parametrize("status", ["", "{}", f"{STATUS};id", STATUS.replace("passed", "a b")])
def test_only_what_ci_says_is_sent(sent, status):
    directory, run = sent
    done = run(CI_STATUS=status)
    assert (done.returncode, (directory / "argv").exists()) == (2, False)
    assert "Nothing was deployed" in done.stderr


def run_of(number, status="completed", conclusion="success", commit=COMMIT):
    return {"run_number": number, "status": status, "conclusion": conclusion, "head_sha": commit}


@pytest.fixture
def asked(tmp_path):
    """The step of the workflow in a checkout of COMMIT, with a gh that answers like the API."""
    find_program("jq")
    (tmp_path / "gh").write_text(
        f"#!/bin/sh\nprintf '%s ' \"$@\" >{tmp_path}/argv\ncat {tmp_path}/answer\n"
    )
    (tmp_path / "git").write_text(f"#!/bin/sh\necho {COMMIT}\n")
    for name in ("gh", "git"):
        (tmp_path / name).chmod(0o755)
    (step,) = [each for each in JOBS["status"]["steps"] if each.get("id") == "ask"]

    def ask(answer):
        if answer is not None:
            (tmp_path / "answer").write_text(json.dumps(answer))
        output = tmp_path / "output"
        env = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "GITHUB_REPOSITORY": "kvb/kvb-admin",
            "GITHUB_OUTPUT": str(output),
        }
        argv = ["bash", "-e", "-c", step["run"]]  # as the runner starts it
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
        )
        return done, output.read_text() if output.exists() else None

    return tmp_path, ask


@pytest.mark.parametrize(
    ("runs", "tests"),
    [
        ([run_of(1)], "passed"),
        ([run_of(1, conclusion="failure")], "failure"),
        ([run_of(1, conclusion="cancelled")], "cancelled"),
        ([run_of(2, conclusion="failure"), run_of(1)], "failure"),
        ([run_of(1, conclusion="failure"), run_of(2)], "passed"),
        ([run_of(1), run_of(2, "in_progress", None)], "in_progress"),
        ([run_of(1, "queued", None)], "queued"),
        ([], None),
        ([run_of(1, commit="b" * 40)], None),
    ],
    ids=["green", "red", "cancelled", "red now", "green now", "again", "pending", "none", "other"],
)
def test_what_ci_says_of_this_commit_alone_is_what_predeploy_reads(asked, tmp_path, runs, tests):
    directory, ask = asked
    done, output = ask({"workflow_runs": runs})
    assert done.returncode == 0, done.stderr
    assert f"workflows/test.yml/runs?head_sha={COMMIT}" in (directory / "argv").read_text()
    line = output.removeprefix("status=")
    (tmp_path / "ci-status.json").write_text(line)
    status = read_ci_status(tmp_path / "ci-status.json", COMMIT)
    assert (status.problem, status.answers.get("tests")) == ("", tests)
    errors = [each.msg for each in ci_findings(status, [], "default") if each.level == ERROR]
    assert len(errors) == (tests not in ("passed", None))


@pytest.mark.parametrize("answer", [None, {}, {"message": "Not Found"}, "no"])
def test_without_an_answer_there_is_no_status(asked, answer):
    done, output = asked[1](answer)
    assert done.returncode != 0 and output is None


def test_scripts_of_the_workflow_are_executable():
    for name in re.findall(r"deploy/ci/[a-z-]+", str(DEPLOY)):
        assert shutil.which(REPOSITORY / name)
