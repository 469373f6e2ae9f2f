"""The workflows by their schema and by zizmor; what they start is run, with ssh as the only stand-in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.programs import find_program
from tests.project.runner import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
DEPLOY = yaml.safe_load((REPOSITORY / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
JOBS = DEPLOY["jobs"]
VERSION = "v1.2.3@sha256:" + "5" * 64


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
    assert JOBS["staging"]["needs"] == "build"
    assert JOBS["production"]["needs"] == ["build", "staging"]
    builds = [name for name, job in JOBS.items() if "docker buildx build" in str(job)]
    assert builds == ["build"]
    assert JOBS["production"]["steps"] == JOBS["staging"]["steps"]
    assert [JOBS[name]["environment"] for name in ("staging", "production")] == [
        "staging", "production"
    ]  # fmt: skip


def test_nothing_is_cut_off_and_no_job_may_write():
    assert DEPLOY["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    assert DEPLOY["permissions"] == {}
    assert all(job["permissions"] == {"contents": "read"} for job in JOBS.values())


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
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{tmp_path}/argv\nssh-add -l >{tmp_path}/keys\n"
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
    assert argv[-1].endswith(f"--detach v1.2.3 && deploy/compose/release {VERSION}")


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


def test_scripts_of_the_workflow_are_executable():
    for name in re.findall(r"deploy/ci/[a-z-]+", str(DEPLOY)):
        assert shutil.which(REPOSITORY / name)
