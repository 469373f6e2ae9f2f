"""What deploy.sh does is written by e-mail by the release that serves, with its own settings."""

import json
import sys
from dataclasses import replace

import pytest

from deploy_ops.audit import Event, Kind, Outcome, read_events
from deploy_ops.release.host import trail
from deploy_ops.release.host.colours import CURRENT, Colour, place
from deploy_ops.release.host.trail import note
from tests.mail_server import taking_mail
from tests.project.runner import REPOSITORY

EVENT = Event(Kind.DEPLOYMENT, Outcome.FAILED, "1.4.3", by="anna", message="It was not ready.")
MANAGE = "import sys\nfrom django.core.management import execute_from_command_line as run\nrun(sys.argv)\n"


@pytest.fixture
def serving(host, tmp_path):
    """A host on which v1.4.2 serves, with the project of the tests as its code."""
    release = host.releases / "v1.4.2"
    (release / ".venv" / "bin").mkdir(parents=True)
    python = release / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (release / "manage.py").write_text(MANAGE)
    (release / "release.env").write_text("APP_VERSION=1.4.2\n")
    place(host, Colour.BLUE, "v1.4.2")
    (host.sockets / CURRENT).symlink_to("blue.sock")
    return replace(host, environment=(tmp_path / "settings.env",))


def configure(host, **overrides) -> None:
    lines = {
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "PYTHONPATH": str(REPOSITORY),
        "DATABASE_URL": "sqlite:////nonexistent.sqlite3",
        "MEDIA_ROOT": "/nonexistent",
        "DEPLOY_OPS_STATE_DIR": str(host.audit),
        "SETTINGS_OVERRIDES": json.dumps(overrides),
    }
    quoted = (f"{name}='{value}'\n" for name, value in lines.items())
    host.environment[0].write_text("".join(quoted))


def test_failed_deployment_is_written_by_the_release_that_serves(serving):
    told: list[str] = []
    with taking_mail() as server:
        receivers = ["mailto:ops@example.org"]
        configure(serving, DEPLOY_OPS_NOTIFY=receivers, **server.settings)
        note(serving, told.append, replace(EVENT, outcome=Outcome.STARTED))
        assert server.mails == []
        note(serving, told.append, EVENT)
    (mail,) = server.mails
    assert "deployment failed (1.4.3)" in mail["Subject"]
    assert "It was not ready." in mail.get_content()
    assert told == []


def test_release_that_cannot_write_changes_nothing_but_what_is_told(serving, capfd):
    configure(serving, DEPLOY_OPS_NOTIFY=["mailto:"])
    told: list[str] = []
    note(serving, told.append, EVENT)
    assert read_events(serving.audit) == [EVENT]
    assert "Nobody was written to by e-mail: " in told[0]
    assert "DEPLOY_OPS_NOTIFY wants one address behind mailto:" in capfd.readouterr().err


@pytest.mark.parametrize("ends", ["exec sleep 5", "kill -9 $$"])
def test_a_command_that_is_ended_may_have_written(serving, monkeypatch, ends):
    configure(serving)
    monkeypatch.setattr(trail, "MAIL_SECONDS", 1)
    (serving.releases / "v1.4.2" / ".venv" / "bin" / "python").write_text(f"#!/bin/sh\n{ends}\n")
    told: list[str] = []
    note(serving, told.append, EVENT)
    assert "Whether anybody was written to by e-mail is not known: " in told[0]


def test_before_the_first_release_there_is_nobody_to_write(host):
    told: list[str] = []
    note(host, told.append, EVENT)
    assert read_events(host.audit) == [EVENT] and told == []
