"""What deploy.sh has noted on the host, read from files and links as it makes them."""

import pytest

from deploy_ops.release.host.colours import Colour, place, switch
from deploy_ops.release.host.config import FILE, read_host
from deploy_ops.release.host.shares import end_share, set_share
from deploy_ops.release.page import host

TOML = """
url = "https://kvb.example.org"
sockets = "{root}/sockets"
state = "{root}/state"
audit = "{root}/audit"
environment = []
units = ["kvb-admin@{{colour}}"]
"""


@pytest.fixture
def on_host(settings, tmp_path, monkeypatch):
    """A host whose blue release serves, and is the one that answers."""
    monkeypatch.delenv("DEPLOY_HOST", raising=False)
    settings.BASE_DIR = tmp_path / "releases" / "v1.4.2"
    for name in ("deploy", "sockets", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / FILE).write_text(TOML.format(root=tmp_path))
    found = read_host(tmp_path)
    place(found, Colour.BLUE, "v1.4.2")
    place(found, Colour.GREEN, "v1.5.0")
    switch(found, Colour.BLUE)
    end_share(found)
    return found


COLOURS = {"1.4.2": "blue", "1.5.0": "green"}


def test_colour_that_serves(on_host):
    assert host.read_host() == host.Host("blue", colours=COLOURS)


def test_share_of_a_canary(on_host):
    set_share(on_host, Colour.GREEN, 5)
    assert host.read_host() == host.Host("blue", "green", 5, COLOURS)


def test_checkout_of_a_developer_is_no_release(on_host, settings, tmp_path):
    settings.BASE_DIR = tmp_path
    assert host.read_host() == host.Host()


@pytest.mark.parametrize("toml", ["state = 3\nsockets = []", "=", "\x00", ""])
def test_configuration_may_be_anything(on_host, tmp_path, toml):
    (tmp_path / FILE).write_text(toml)
    assert host.read_host() == host.Host()


def test_before_the_first_deployment_nothing_serves(on_host, tmp_path):
    (tmp_path / "sockets" / "current.sock").unlink()
    (tmp_path / "state" / "active").write_bytes(b"red")
    assert host.read_host() == host.Host()
