"""What a colour answers on its own socket, before anybody else is sent there."""

import http.client
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_ops.errors import ReleaseFailed
from deploy_ops.release.host.colours import Colour
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.tags import Tag
from deploy_ops.release.host.units import is_running

POLL_SECONDS = 0.1
ANSWER_SECONDS = 5


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = str(path)

    def connect(self) -> None:
        """Connect to the path instead of host and port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came; status 0 and the reason in `text` where nothing did."""

    status: int
    text: str

    @property
    def version(self) -> str:
        """The version in the body, "" where there is none."""
        try:
            body: Any = json.loads(self.text)
            return str(body["version"])
        except (ValueError, RecursionError, KeyError, TypeError):
            return ""

    def __str__(self) -> str:
        return f"{self.status} {self.text[:500]}" if self.status else self.text


def ask_ready(host: Host, colour: Colour) -> Answer:
    """Ask a colour whether it is ready."""
    return ask(colour.socket(host), f"{host.health_path.rstrip('/')}/ready/")


def ask(path: Path, url: str, headers: dict[str, str] | None = None) -> Answer:
    """GET from a unix socket; never raises for what the network or the server does."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", url, headers={"Host": "localhost", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, f"no answer: {error}")
    finally:
        connection.close()


def is_ready(host: Host, colour: Colour, tag: Tag) -> bool:
    """Whether the colour is ready and runs the version of the tag."""
    answer = ask_ready(host, colour)
    return answer.status == 200 and answer.version.removeprefix("v") == tag.version


def wait_until_ready(host: Host, colour: Colour, tag: Tag) -> float:
    """Wait for the right version to be ready; return the seconds. Raises ReleaseFailed."""
    began = time.monotonic()
    while True:
        answer = ask_ready(host, colour)
        waited = time.monotonic() - began
        if answer.status == 200:
            if answer.version.removeprefix("v") == tag.version:
                return waited
            raise ReleaseFailed(
                f"{colour} answers as version {answer.version or 'unknown'}, not {tag.version}: "
                "something else listens on its socket, or the release has another APP_VERSION."
            )
        if waited > host.gate_seconds:
            raise ReleaseFailed(
                f"{colour} ({tag.name}) was not ready within {host.gate_seconds:g} s. It answered "
                f"last: {answer}"
            )
        if not is_running(host, colour):
            raise ReleaseFailed(
                f"{colour} ({tag.name}) has ended before it was ready. It answered last: {answer}"
            )
        time.sleep(POLL_SECONDS)
