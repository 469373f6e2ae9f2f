"""What the image is made of, as its Dockerfile says it; test_image_built.py builds and runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dockerfile import DOCKERFILE, stages
from tests.project.runner import REPOSITORY

IMAGE = stages()[-1]  # what `docker build` makes without --target


def test_hadolint_finds_nothing():
    argv = [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", DOCKERFILE]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_its_base_is_named_by_digest():
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert re.search(r"^ARG PYTHON=\S+:3\.11-slim-bookworm@sha256:[0-9a-f]{64}$", text, re.M)
    assert IMAGE.base == "${PYTHON}"


def test_it_runs_as_a_numbered_user_who_is_not_root():
    user = IMAGE.all("USER")[-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    made = next(run for run in IMAGE.all("RUN") if "useradd" in run)
    assert f"--uid {user.partition(':')[0]} " in made


def test_nothing_happens_before_the_server_starts():
    assert IMAGE.all("ENTRYPOINT") == []
    assert IMAGE.all("CMD")[-1].startswith('["gunicorn", ')
    assert not any("migrate" in words for stage in stages() for _, words in stage.instructions)


@pytest.mark.parametrize("word", ["gcc", "build-essential", "-dev", "git", "pip install"])
def test_what_builds_is_not_in_it(word):
    assert not any(word in run for run in IMAGE.all("RUN"))


def test_no_value_of_it_is_secret():
    given = [*IMAGE.all("ENV"), *IMAGE.all("ARG")]
    names = re.findall(r"\b([A-Z_]+)(?:=|$)", " ".join(given))
    assert "APP_VERSION" in names
    assert not [name for name in names if re.search("SECRET|PASSWORD|TOKEN|KEY|DATABASE", name)]


def test_the_builder_gets_what_is_copied_and_nothing_else():
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    copied = {
        words.split()[0]
        for stage in stages()
        for words in stage.all("COPY")
        if not words.startswith("--from=")
    }
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
