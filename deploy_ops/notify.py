"""Webhooks: each event of the audit to those who want to be told of it, signed.

As https://www.standardwebhooks.com has it, so that a receiver checks it with a library of that
name. Nobody waits for a receiver, and each is told once. The record is the audit.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from deploy_ops.audit import Event
from deploy_ops.deliver import NotDelivered, deliver
from deploy_ops.errors import ConfigurationError
from deploy_ops.redact import Secret, redact

ANSWER_SECONDS = 5.0
PREFIX = "whsec_"
LEAST_BYTES = 24  # of a secret; the specification's own limit


def notify(event: Event, urls: Iterable[str], secret_file: Path) -> None:
    """Tell everybody, and wait for nobody. Raises ConfigurationError for a secret that is none."""
    body = payload(event)
    headers = signed(body, _read_secret(secret_file))
    for url in urls:
        # An address may have a token in its path.
        receiver = urlsplit(url).hostname or "A receiver without a name"
        deliver(receiver, partial(_tell, url, body, headers))


def payload(event: Event) -> bytes:
    """What is sent: `type`, `timestamp`, and the event with the host that it happened on."""
    data = asdict(event) | {"message": redact(event.message), "host": socket.gethostname()}
    kind = f"deploy_ops.{event.kind}.{event.outcome}"
    return json.dumps({"type": kind, "timestamp": event.at, "data": data}, default=str).encode()


def signed(body: bytes, secret: Secret) -> dict[str, str]:
    """The headers that name a message and prove who sent it, and when."""
    name, at = f"msg_{secrets.token_hex(16)}", str(int(time.time()))
    signature = sign(name, at, body, base64.b64decode(secret.reveal()))
    return {
        "Content-Type": "application/json",
        "User-Agent": "deploy_ops",
        "webhook-id": name,
        "webhook-timestamp": at,
        "webhook-signature": signature,
    }


def sign(name: str, at: str, body: bytes, key: bytes) -> str:
    """The signature of a message: `v1,` and HMAC-SHA256 in base64."""
    digest = hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _read_secret(path: Path) -> Secret:
    try:
        text = path.read_text(encoding="ascii").strip().removeprefix(PREFIX)
        if len(base64.b64decode(text, validate=True)) >= LEAST_BYTES:
            return Secret(text)
        reason = f"it has fewer than {LEAST_BYTES} bytes"
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except (UnicodeDecodeError, binascii.Error):
        reason = "it is not in base64"
    raise ConfigurationError(
        f"The secret in {path} cannot sign an event: {reason}. The event was not sent. This makes "
        "one:\n    openssl rand -base64 32"
    )


class _NoRedirect(HTTPRedirectHandler):
    """Who is told is what the settings say, not what a receiver answers."""

    def redirect_request(  # pylint: disable=too-many-arguments,too-many-positional-arguments
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Follow none: then it is an error."""


def _tell(url: str, body: bytes, headers: dict[str, str]) -> None:
    request = Request(url, body, headers, method="POST")
    try:
        with build_opener(_NoRedirect).open(request, timeout=ANSWER_SECONDS):
            pass
    except OSError as error:
        raise NotDelivered(str(error)) from None
    except (HTTPException, ValueError) as error:  # whose text may have the address in it
        raise NotDelivered(type(error).__name__) from None
