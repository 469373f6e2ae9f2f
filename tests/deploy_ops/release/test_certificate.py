"""Certificates as a server really has them: what they say of the days that are left (R008)."""

import socket
import ssl
import subprocess
import threading
from contextlib import closing, contextmanager

import pytest
from django.core.checks import ERROR, WARNING

from deploy_ops.release.predeploy import certificate_findings


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """Serves a certificate of so many days, of an authority that is trusted or not; its URL."""

    @contextmanager
    def serve(days, is_trusted=True):
        path = tmp_path / "both.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            + ["-nodes", "-subj", "/CN=kvb", "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-days", f"{days}", "-keyout", path, "-out", tmp_path / "cert.pem"],
            check=True,
            capture_output=True,
        )
        path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
        if is_trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            thread = threading.Thread(target=answer_once, args=(server, context))
            thread.start()
            yield f"https://127.0.0.1:{server.getsockname()[1]}/"
            thread.join(10)

    return serve


def answer_once(server, context):
    connection, _ = server.accept()
    with closing(connection):
        try:
            context.wrap_socket(connection, server_side=True).close()
        except (ssl.SSLError, ConnectionError):
            pass  # the visitor does not like the certificate


def test_one_that_lasts(serving):
    with serving(days=90) as url:
        assert not [*certificate_findings(url)]


def test_one_that_expires_soon(serving):
    with serving(days=6) as url:
        (finding,) = certificate_findings(url)
    assert finding.level == WARNING and finding.id == "deploy_ops.R008"
    assert finding.msg.endswith("expires in 5 days.")


def test_one_that_nobody_vouches_for(serving):
    with serving(days=90, is_trusted=False) as url:
        (finding,) = certificate_findings(url)
    assert finding.level == ERROR
    assert "has no valid certificate" in finding.msg and "self-signed" in finding.msg


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9", "ftp://x", "no url"])
def test_where_there_is_none_to_look_at(url):
    assert not [*certificate_findings(url)]
