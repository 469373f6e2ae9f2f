"""A hook that is there and cannot be run ends the deployment: it is somebody's condition."""

import pytest

from deploy_ops.errors import ReleaseFailed
from deploy_ops.release.host.commands import run_hook
from deploy_ops.release.host.tags import parse

TAG = parse("v1.1.0")


@pytest.fixture
def hook(host):
    """Where the hook of the release is to be."""
    path = host.releases / TAG.name / "deploy" / "hooks" / "pre-migrate"
    path.parent.mkdir(parents=True)
    (host.releases / TAG.name / "release.env").write_text("COLOUR=blue\n")
    return path


def run(host):
    return run_hook(host, "pre-migrate", TAG, parse("v1.0.0"))


def test_none(host, hook):
    assert run(host) is False


def test_it_knows_where_it_is(host, hook, tmp_path):
    hook.write_text(f'#!/bin/sh\necho "$PWD $DEPLOY_FROM $DEPLOY_TAG $COLOUR" > {tmp_path}/told\n')
    hook.chmod(0o755)
    assert run(host) is True
    told = (tmp_path / "told").read_text()
    assert told == f"{host.releases}/v1.1.0 v1.0.0 v1.1.0 blue\n"


def not_executable(path):
    path.write_text("#!/bin/sh\n")


def executable(text):
    def make(path):
        path.write_text(text)
        path.chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (not_executable, "not executable"),
        (lambda path: path.symlink_to("/nonexistent/check"), "not executable"),
        (lambda path: path.mkdir(), "could not be started"),
        (executable("exit 0\n"), "failed with exit code 1"),  # no #!: nobody knows in what
        (executable("#!/nonexistent\n"), "failed with exit code 1"),
        (executable("#!/bin/sh\nexit 7\n"), "failed with exit code 7"),
        (executable("#!/bin/sh\nkill -9 $$\n"), "killed by signal 9"),
    ],
)
def test_one_that_cannot_be_run(host, hook, make, said):
    make(hook)
    with pytest.raises(ReleaseFailed, match=said):
        run(host)
