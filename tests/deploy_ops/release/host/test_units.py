"""The units of a colour are started in their order and stopped in the other one."""

from dataclasses import replace

import pytest

from deploy_ops.errors import ReleaseFailed
from deploy_ops.release.host import units
from deploy_ops.release.host.colours import Colour

SYSTEMCTL = """#!/bin/sh
echo "$*" >> {log}
case "$*" in *broken@*) echo "Unit is broken" >&2; exit 1;; esac
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Returns what systemctl was asked until now."""
    log, programs = tmp_path / "systemctl.log", tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text(SYSTEMCTL.format(log=log))
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return lambda: log.read_text().splitlines()


def test_a_worker_is_drained_with_its_colour_before_what_serves(host, asked):
    host = replace(host, units=("site@{colour}", "worker@{colour}"))
    units.start(host, Colour.GREEN)
    units.stop(host, Colour.BLUE)
    assert asked() == [
        "enable --now site@green",
        "enable --now worker@green",
        "disable --now worker@blue",
        "disable --now site@blue",
    ]


def test_a_worker_that_does_not_start_is_named(host, asked):
    host = replace(host, units=("site@{colour}", "broken@{colour}"))
    with pytest.raises(
        ReleaseFailed, match="(?s)broken@green does not start.*Unit is broken"
    ) as failed:
        units.start(host, Colour.GREEN)
    assert "journalctl --unit broken@green" in str(failed.value)
    assert asked()[-1] == "enable --now broken@green"
