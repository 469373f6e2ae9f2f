"""Webhooks: signed as the specification says, and nobody waits for them."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings

from deploy_ops import deliver
from deploy_ops.audit import Event, Kind, Outcome
from deploy_ops.errors import ConfigurationError
from deploy_ops.notify import notify, sign
from tests.receiver import receiving

KEY = os.urandom(32)
EVENT = Event(Kind.DEPLOYMENT, Outcome.FAILED, "1.4.3", by="anna", message="password=geheim x")


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(base64.b64encode(KEY).decode() + "\n")
    return path


def tell(receiver, secret, event=EVENT):
    notify(event, [receiver.url], secret)
    for thread in tuple(deliver._under_way):
        thread.join(10)
    assert not deliver._under_way


@pytest.mark.parametrize(
    ("name", "at", "body", "key", "signature"),
    [  # of the libraries of standardwebhooks.com, and of its documentation
        (
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            b'{"test": 2432232314}',
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "msg_loFOjxBNrRLzqYUf",
            "1731705121",
            b'{"event_type":"ping","data":{"success":true}}',
            "plJ3nmyCDGBKInavdOK15jsl",
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
    ],
)
def test_signature_is_that_of_the_specification(name, at, body, key, signature):
    assert sign(name, at, body, base64.b64decode(key)) == signature


def test_receiver_can_check_what_it_is_told(receiver, secret):
    tell(receiver, secret)
    ((path, headers, body),) = receiver.told
    assert path == "/hooks/a-token" and headers["Content-Type"] == "application/json"
    expected = sign(headers["webhook-id"], headers["webhook-timestamp"], body, KEY)
    assert headers["webhook-signature"] == expected
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    told = json.loads(body)
    assert told["type"] == "deploy_ops.deployment.failed" and told["timestamp"] == EVENT.at
    assert told["data"]["by"] == "anna" and told["data"]["host"] == socket.gethostname()


def test_no_message_is_named_like_another(receiver, secret):
    tell(receiver, secret)
    tell(receiver, secret)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.told}) == 2


def test_passwords_are_hidden_from_it(receiver, secret):
    tell(receiver, secret)
    assert b"geheim" not in receiver.told[0][2]


def test_secret_may_have_its_prefix(receiver, secret):
    secret.write_text("whsec_" + secret.read_text())
    tell(receiver, secret)
    ((_, headers, body),) = receiver.told
    expected = sign(headers["webhook-id"], headers["webhook-timestamp"], body, KEY)
    assert headers["webhook-signature"] == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"c2hvcnQ=", "fewer than 24 bytes"), (b"not base64!", "base64"), (b"\xff", "base64")],
)
def test_secret_that_is_none_tells_nobody_and_is_not_shown(receiver, secret, content, reason):
    secret.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        tell(receiver, secret)
    assert content.decode("latin-1") not in str(caught.value) and not receiver.told


def test_secret_that_is_not_there_is_said(receiver, tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        tell(receiver, tmp_path / "none")


@pytest.mark.parametrize("status", [403, 500])
def test_what_a_receiver_answers_is_logged_without_its_address(receiver, secret, status, caplog):
    receiver.status = status
    tell(receiver, secret)
    assert f"127.0.0.1 was not told of an event: HTTP Error {status}" in caplog.text
    assert "a-token" not in caplog.text and len(receiver.told) == 1


def test_no_redirect_is_followed(receiver, secret, caplog):
    with receiving() as other:
        receiver.status, receiver.more = 307, {"Location": other.url}
        tell(receiver, secret)
        assert other.told == [] and "HTTP Error 307" in caplog.text


def test_nobody_listens(secret, caplog):
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    notify(EVENT, [url], secret)
    for thread in tuple(deliver._under_way):
        thread.join(10)
    assert "Connection refused" in caplog.text


PROCESS = """
import sys, time
from pathlib import Path
from deploy_ops.audit import Event, Kind, Outcome
from deploy_ops.notify import notify
began = time.monotonic()
notify(Event(Kind.FLAG, Outcome.DONE, "1", by="anna"), [sys.argv[1]], Path(sys.argv[2]))
print(time.monotonic() - began)
"""


def test_last_event_of_a_process_arrives(receiver, secret):
    argv = [sys.executable, "-c", PROCESS, receiver.url, str(secret)]
    subprocess.run(argv, check=True, capture_output=True)
    assert len(receiver.told) == 1


def test_silent_receiver_holds_nobody_and_ends_no_process_late(secret):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        argv = [sys.executable, "-c", PROCESS, url, str(secret)]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert float(done.stdout) < 1
    assert time.monotonic() - began < deliver.LAST_SECONDS + 5


def test_receiver_of_the_page_checks_it(receiver, secret):
    page = (Path(settings.BASE_DIR) / "docs/howto/be-told-what-happened.md").read_text()
    code = page.split("```python\nimport base64")[1].split("```")[0]
    names: dict = {}
    exec("import base64" + code, names)  # pylint: disable=exec-used
    tell(receiver, secret)
    ((_, headers, body),) = receiver.told
    assert names["is_ours"](headers, body, secret.read_text().strip())
    assert not names["is_ours"](headers, body + b" ", secret.read_text().strip())
    assert not names["is_ours"](headers, body, base64.b64encode(os.urandom(32)).decode())


def test_a_confirmation_is_told(receiver, secret, sqlite_project):
    names = {"DEPLOY_OPS_NOTIFY": [receiver.url], "DEPLOY_OPS_NOTIFY_SECRET_FILE": str(secret)}
    sqlite_project.settings(**names).run("predeploy", "--confirm", "tests")
    assert [json.loads(body)["type"] for _, _, body in receiver.told] == ["deploy_ops.check.done"]
