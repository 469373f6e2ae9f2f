"""Webhooks: each event of the audit to those who want to be told of it, signed.

As https://www.standardwebhooks.com has it, so that a receiver checks it with a library of that
name. Nobody waits for a receiver: each is told once, by a thread of its own, and a process that
ends gives the last of them a few seconds. The record is the audit.
"""

import atexit
import base64
import binascii
import hashlib
import hmac
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from deploy_ops.audit import Event
from deploy_ops.errors import ConfigurationError
from deploy_ops.redact import Secret, redact

ANSWER_SECONDS = 5.0
# Once for all that are still being told when the process ends.
LAST_SECONDS = 6.0
PREFIX = "whsec_"
LEAST_BYTES = 24  # of a secret; the specification's own limit
logger = logging.getLogger(__name__)
_under_way: set[threading.Thread] = set()


def notify(event: Event, urls: Iterable[str], secret_file: Path) -> None:
    """Tell everybody, and wait for nobody. Raises ConfigurationError for a secret that is none."""
    body = payload(event)
    headers = signed(body, _read_secret(secret_file))
    for url in urls:
        thread = threading.Thread(target=_tell, args=(url, body, headers), daemon=True)
        _under_way.add(thread)
        thread.start()


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
    try:
        request = Request(url, body, headers, method="POST")
        with build_opener(_NoRedirect).open(request, timeout=ANSWER_SECONDS):
            pass
    except (OSError, HTTPException) as error:
        # An address may have a token in its path.
        logger.warning("%s was not told of an event: %s", urlsplit(url).hostname, error)
    finally:
        _under_way.discard(threading.current_thread())


@atexit.register
def _finish() -> None:
    end = time.monotonic() + LAST_SECONDS
    for thread in tuple(_under_way):
        thread.join(max(0.0, end - time.monotonic()))
