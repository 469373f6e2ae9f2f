"""How a session names its release, and how that is read again."""

import sys

import pytest

from deploy_ops.phases.session_name import (
    LIMIT_BYTES,
    program_name,
    release_in,
    release_tag,
    session_name,
)

LONG = "2026.11.26-hotfix-of-the-reimbursement-of-trips-abroad"


@pytest.mark.parametrize(
    "argv, name",
    [
        (["/srv/kvb/.venv/bin/gunicorn", "kvb.app.wsgi"], "gunicorn"),
        (["/srv/kvb/.venv/lib/gunicorn/__main__.py", "kvb.app.wsgi"], "gunicorn"),
        (["manage.py", "send_reminders", "--to=anna"], "manage.py send_reminders"),
        (["/lib/django/__main__.py", "migrate"], "django migrate"),
        (["manage.py"], "manage.py"),
        (["-c"], "python"),
        ([""], "python"),
    ],
)
def test_program_is_what_one_types(monkeypatch, argv, name):
    monkeypatch.setattr(sys, "argv", argv)
    assert program_name() == name


@pytest.mark.parametrize("given", ["", "kvb web", "Käse", "x" * 80, "kvb web release=0.9"])
@pytest.mark.parametrize("release", ["1.2.3", "v1.2-4-gabc-dirty", LONG, "Frühling 26"])
def test_name_fits_and_is_read_again(given, release):
    name = session_name(given, release)
    assert len(name.encode("ascii")) <= LIMIT_BYTES
    assert release_in(name) == release_tag(release)
    assert session_name(name, release) == name


def test_name_that_the_project_gave_stays():
    assert session_name("kvb web", "1.2.3") == "kvb web release=1.2.3"


def test_tag_is_another_for_another_release():
    assert release_tag("1.2.3") == "1.2.3"
    assert release_tag(LONG) != release_tag(LONG + "-2")
    assert release_tag("a b") != release_tag("a_b")


@pytest.mark.parametrize("name", ["", "psql", "deploy_ops/health", "kvb release=unknown"])
def test_name_without_a_release(name):
    assert release_in(name) is None
