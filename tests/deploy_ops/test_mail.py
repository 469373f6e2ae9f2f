"""What needs a person is written by e-mail; nothing waits for it, and nothing fails for it."""

import gc
import socket
import time
from contextlib import closing
from dataclasses import replace

import pytest

from deploy_ops import deliver
from deploy_ops.audit import Event, Kind, Outcome
from deploy_ops.trail import note, tell_receivers
from tests.mail_server import taking_mail

FAILED = Event(
    Kind.DEPLOYMENT,
    Outcome.FAILED,
    "1.4.3",
    by="anna",
    seconds=71.2,
    message="postgresql://kvb:geheim@db/kvb does not answer.",
    details={"from": "v1.4.2", "operations": ["0007 drop"], "into": None},
)
PASSWORD = "sehr-geheim"


@pytest.fixture
def server():
    with taking_mail() as server:
        yield server


@pytest.fixture(autouse=True)
def settings(settings, server, tmp_path):
    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "state"
    settings.DEPLOY_OPS_NOTIFY = ["mailto:ops@example.org"]
    settings.SERVER_EMAIL = "kvb@example.org"
    for name, value in server.settings.items():
        setattr(settings, name, value)
    return settings


def tell(event=FAILED) -> None:
    tell_receivers(event)
    for thread in tuple(deliver._under_way):
        thread.join(10)
    assert not deliver._under_way


def test_mail_says_what_happened_where_and_why_without_a_password(server):
    tell()
    (mail,) = server.mails
    host = socket.gethostname()
    assert mail["Subject"] == f"[{host}] deployment failed (1.4.3)"
    assert (mail["From"], mail["To"]) == ("kvb@example.org", "ops@example.org")
    text = mail.get_content()
    for line in ("by: anna", "seconds: 71.2", "from: v1.4.2", 'operations: ["0007 drop"]'):
        assert line in text
    assert "does not answer" in text and "geheim" not in text and "into" not in text


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_what_needs_a_person_is_written(server, outcome):
    tell(replace(FAILED, outcome=outcome))
    assert bool(server.mails) is (outcome in ("failed", "recovered", "stale"))


def test_text_of_others_cannot_add_a_header(server):
    tell(replace(FAILED, version="1\r\nBcc: eve@example.org", message="x\r\n.\r\nQUIT"))
    (mail,) = server.mails
    assert mail["Bcc"] is None and "1 Bcc: eve@example.org" in mail["Subject"]


def test_each_has_a_mail_of_its_own_and_who_is_refused_is_named(server, settings, caplog):
    settings.DEPLOY_OPS_NOTIFY = ["mailto:ops@example.org", "mailto:boss@example.org"]
    tell()
    assert {mail["To"] for mail in server.mails} == {"ops@example.org", "boss@example.org"}
    server.replies["RCPT"] = "550 no such user, password=sehr-geheim"
    tell()
    assert "boss@example.org was not told of an event: SMTPRecipientsRefused 550" in caplog.text
    assert "python manage.py sendtestemail boss@example.org" in caplog.text
    assert PASSWORD not in caplog.text


# Django leaves the connection on which it was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("word", "reply", "said"),
    [
        ("AUTH", f"535 {PASSWORD} is wrong", "SMTPAuthenticationError 535"),
        ("MAIL", f"451 {PASSWORD}", "SMTPSenderRefused 451"),
        ("DATA", f"554 {PASSWORD}", "SMTPDataError 554"),
    ],
)
def test_words_of_a_server_that_refuses_are_not_repeated(
    server, settings, caplog, word, reply, said
):
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "kvb", PASSWORD
    server.replies[word] = reply
    tell()
    gc.collect()
    assert said in caplog.text and PASSWORD not in caplog.text and not server.mails


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("django.core.mail.backends.smtp.EmailBackend", "Connection refused"),
        ("no.such.Backend", "ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_sent_is_logged(settings, caplog, backend, said):
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        settings.EMAIL_PORT = gone.getsockname()[1]
    settings.EMAIL_BACKEND = backend
    tell()
    assert "ops@example.org was not told of an event" in caplog.text and said in caplog.text


def test_webhook_whose_secret_cannot_be_read_keeps_no_mail_back(server, settings, caplog):
    settings.DEPLOY_OPS_NOTIFY = ["https://hooks.example.org/", "mailto:ops@example.org"]
    settings.DEPLOY_OPS_NOTIFY_SECRET_FILE = "/nonexistent"
    tell()
    assert server.mails and "No such file" in caplog.text


def test_no_thread_left_is_no_failure(monkeypatch, caplog):
    def start(_self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(deliver.threading.Thread, "start", start)
    note(FAILED)
    assert "can't start new thread" in caplog.text and not deliver._under_way


def settings_of(server) -> dict[str, object]:
    return {"DEPLOY_OPS_NOTIFY": ["mailto:ops@example.org"], **server.settings}


def test_what_goes_wrong_with_the_database_and_its_backups_is_written(server, sqlite_project):
    project = sqlite_project.with_apps("bad_third").settings(**settings_of(server))
    project.run("backups", "list", "--max-age", "26h", check=1)
    project.run("safe_migrate", check=3)
    (backup,) = [path for path in project.backups_dir.iterdir() if path.is_dir()]
    database = next(path for path in (backup / "database").iterdir())
    database.write_bytes(database.read_bytes()[:-1])
    project.run("backups", "verify", backup.name, "--level", "restore", check=1)
    project.backups_dir.chmod(0o755)
    project.run("backup", check=1)
    subjects = [mail["Subject"].partition("] ")[2].partition(" (")[0] for mail in server.mails]
    assert subjects == [
        "backup stale",
        "migration recovered",
        "verification failed",
        "backup failed",
    ]
    texts = [mail.get_content() for mail in server.mails]
    for text, words in zip(
        texts,
        [
            "No verified backup of database 'default' is younger than 26 h.",
            "bad_third.0004_import_receipts failed: ValueError",
            f"Backup {backup.name} is not what its manifest says",
            "open to other users",
        ],
    ):
        assert words in text
    assert "The schema is as it was" in texts[1]


def test_what_goes_well_is_not_written(server, sqlite_project):
    project = sqlite_project.with_apps("good_expand").settings(**settings_of(server))
    project.run("safe_migrate", check=0)
    project.run("backups", "verify", check=0)
    project.run("backups", "list", "--max-age", "26h", check=0)
    assert server.mails == []


def test_silent_server_changes_neither_result_nor_exit_code(server, sqlite_project):
    """Without EMAIL_TIMEOUT, which is None by default: smtplib would wait for ever."""
    server.is_silent = True
    project = sqlite_project.with_apps("bad_third").settings(**settings_of(server))
    began = time.monotonic()
    process = project.start("safe_migrate", "--format", "json")
    result = project.finish(process)
    assert result.code == 3 and result.json()["status"] == "recovered"
    assert "ops@example.org was perhaps not told of an event: no answer within 6 s" in result.stderr
    assert time.monotonic() - began < deliver.LAST_SECONDS + 20
