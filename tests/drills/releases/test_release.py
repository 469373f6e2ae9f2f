"""From a tag to the requests, under load, on real gunicorn, nginx and PostgreSQL."""

import os

import pytest

from deploy_ops.release.host.colours import serving, switch
from tests.visitors import Visitors

SWITCHES = int(os.environ.get("SWITCHES", "40"))
GOOD = {("GET", 200), ("POST", 200)}


def visitors(host):
    return Visitors(host.port, "/", {"Host": "127.0.0.1"})


def test_the_first_release_and_the_next(host):
    told = host.deploy("v1.0.0").stdout
    assert host.version() == "1.0.0"
    assert host.running() == ["blue"]
    host.release("v1.1.0")
    with visitors(host) as people:
        told = host.deploy("v1.1.0").stdout
    assert host.version() == "1.1.0"
    assert host.running() == ["green"]
    assert set(people.answers) == GOOD
    assert {text.split()[0] for text in people.texts} == {"1.0.0", "1.1.0"}
    assert "green (v1.1.0) is ready" in told
    assert "blue (v1.0.0) has stopped" in told
    assert host.events() == [
        ("deployment", "started", "1.0.0"),
        ("deployment", "done", "1.0.0"),
        ("deployment", "started", "1.1.0"),
        ("deployment", "done", "1.1.0"),
    ]
    assert host.record() is None
