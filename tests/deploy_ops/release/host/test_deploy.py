"""What a release is asked before anything is touched, and what becomes of its answer."""

import json
from dataclasses import replace

import pytest

from deploy_ops.audit import Kind
from deploy_ops.errors import ReleaseRefused
from deploy_ops.release.host.colours import CURRENT, Colour, place
from deploy_ops.release.host.deploy import prepare
from deploy_ops.release.host.tags import parse

PYTHON = """#!/bin/sh
echo "$*" >> "{log}"
case "$*" in *predeploy*) exit {code};; esac
"""


@pytest.fixture
def asked(host, git, tmp_path):
    """Prepares v1.1.0 while v1.0.0 serves; returns what it was asked. Both are built already."""

    def run(code=0, **values):
        log = tmp_path / "asked.log"
        for name in ("v1.0.0", "v1.1.0"):
            git("tag", "-a", name, "-m", name)
            directory = host.releases / name
            python = directory / ".venv" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text(PYTHON.format(log=log, code=code))
            python.chmod(0o755)
            (directory / "release.env").write_text("")
            release = {"tag": name, "commit": git("rev-parse", "HEAD")}
            (directory / "release.json").write_text(json.dumps(release))
        place(host, Colour.BLUE, "v1.0.0")
        (host.sockets / CURRENT).symlink_to("blue.sock")
        prepare(replace(host, **values), Kind.DEPLOYMENT, parse("v1.1.0"), lambda _: None)
        return log.read_text().splitlines()

    return run


def test_the_certificate_that_users_get_is_looked_at(asked):
    assert asked(url="https://kvb.example.org") == [
        "manage.py collectstatic --noinput -v0",
        "manage.py predeploy --noinput --url https://kvb.example.org",
    ]


def test_metrics_are_read_where_the_application_has_them(asked, host, tmp_path):
    last = asked(metrics_token_file=tmp_path / "token", metrics_path="/monitoring/metrics")[-1]
    socket = str(host.sockets / CURRENT).replace("/", "%2F")
    assert last.endswith(f" --metrics http+unix://{socket}/monitoring/metrics")


def test_what_predeploy_refuses_is_not_deployed(asked):
    with pytest.raises(ReleaseRefused, match=r"v1\.1\.0 is not deployed: .*\nv1\.0\.0 serves\."):
        asked(code=1)
