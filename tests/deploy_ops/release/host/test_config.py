"""deploy/host.toml, and the variables of systemd's EnvironmentFile."""

import re

import pytest

from deploy_ops.errors import ConfigurationError
from deploy_ops.release.host.config import read_host
from deploy_ops.release.host.environment import read_environment
from tests.project.runner import REPOSITORY

GOOD = """
url = "https://kvb.example.org"
sockets = "/run/kvb"
state = "/var/lib/kvb-deploy"
audit = "/var/lib/kvb/deploy_ops"
environment = ["/etc/kvb/secrets.env"]
units = ["kvb@{colour}"]
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "deploy").mkdir(exist_ok=True)
        (tmp_path / "deploy" / "host.toml").write_text(text)
        return read_host(tmp_path)

    return read


def test_what_is_in_the_file(read, tmp_path):
    host = read(GOOD + "watch_seconds = 5\nverify_tags = true\n")
    assert host.root == tmp_path
    assert str(host.sockets) == "/run/kvb"
    assert host.watch_seconds == 5.0
    assert host.verify_tags is True
    assert host.units == ("kvb@{colour}",)
    assert host.keep == 5


def test_the_one_that_is_shipped():
    assert read_host(REPOSITORY).units == ("kvb-admin@{colour}",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("speed = 3", "unknown: speed"),
        ("keep = 1", "keep has to be at least 2: without"),
        ("keep = true", "keep is True, and has to be a whole number"),
        ('watch_seconds = "5"', "watch_seconds is '5', and has to be a number"),
        ("gate_seconds = nan", "gate_seconds is nan, and has to be a number, 0 or more"),
        ("gate_seconds = inf", "gate_seconds is inf"),
        ("watch_seconds = nan", "watch_seconds is nan"),
        ("watch_seconds = -1", "watch_seconds is -1.0"),
        ("free_bytes = -1", "free_bytes is -1"),
        ("verify_tags = 1", "verify_tags is 1, and has to be true or false"),
        ('metrics_token_file = "token"', "not an absolute path"),
        ("user = ", "Invalid value"),
        ('target = "dev"', "target: 'dev' is none of staging, production"),
        ('notify = ["hooks.example.org"]', "notify wants addresses such as"),
        ('notify = ["https://hooks.example.org"]', "wants notify_secret_file"),
    ],
)
def test_what_is_refused(read, line, said):
    with pytest.raises(ConfigurationError, match=said):
        read(f"{GOOD}{line}\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"/run/kvb"', '"run/kvb"', "not an absolute path"),
        ('["kvb@{colour}"]', '["kvb"]', "has to contain {colour}"),
        ('["kvb@{colour}"]', "[]", "units"),
        ('["kvb@{colour}"]', "[1]", r"units is \[1\]"),
        ('"https://kvb.example.org"', '"kvb.example.org"', "http or https address"),
        ('"https://kvb.example.org"', '"https://"', "http or https address"),
        ('"https://kvb.example.org"', '"https://kvb example.org"', "http or https address"),
        ('"https://kvb.example.org"', '"https://[::1"', "http or https address"),
        ('"https://kvb.example.org"', '"https://kvb.example.org:99999"', "http or https address"),
        ('url = "https://kvb.example.org"\n', "", "missing: url"),
    ],
)
def test_what_else_is_refused(read, old, new, said):
    with pytest.raises(ConfigurationError, match=said):
        read(GOOD.replace(old, new))


def test_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match="release-on-a-host"):
        read_host(tmp_path)


def test_variables_as_systemd_reads_them(tmp_path):
    path = tmp_path / "secrets.env"
    path.write_text(
        "# a comment\n; another\n\nPLAIN=a b # c\nSINGLE='a \"b\"'\n"
        'DOUBLE="a \\"b\\" $c"\nLONG=one \\\ntwo\n  INDENTED = x \nEMPTY=\nEQUALS=a=b\n'
    )
    assert read_environment([path]) == {
        "PLAIN": "a b # c",
        "SINGLE": 'a "b"',
        "DOUBLE": 'a "b" $c',
        "LONG": "one two",
        "INDENTED": "x",
        "EMPTY": "",
        "EQUALS": "a=b",
    }


def test_a_later_file_comes_before_an_earlier_one(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("A=1\nB=1\n")
    second.write_text("B=2\n")
    assert read_environment([first, second]) == {"A": "1", "B": "2"}


def test_what_is_wrong_is_named_by_its_line_and_never_shown(tmp_path):
    path = tmp_path / "secrets.env"
    path.write_text("A=1\nthe-secret\n")
    with pytest.raises(ConfigurationError, match=f"Line 2 of {re.escape(str(path))}") as raised:
        read_environment([path])
    assert "the-secret" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_environment([tmp_path / "missing"])
