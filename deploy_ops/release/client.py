"""A visitor for smoke tests: cookies, forms and CSRF, over http, https or a unix socket."""

import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from django.conf import settings

from deploy_ops.errors import SmokeTestFailed, UsageError

UNIX = "http+unix"
FORM = "application/x-www-form-urlencoded"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        """The body, read as JSON; raises SmokeTestFailed if it is none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise SmokeTestFailed(f"no JSON: {self.text[:200]!r}") from error


class Client:
    """One visitor of an instance; keeps cookies, follows no redirect.

    `url` is that of a server, or http+unix:// with the quoted path of a socket. Then the requests
    look as a proxy sends them: with an allowed host, and over TLS where the settings say how that
    is told.
    """

    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        self._url = urlsplit(url)
        self._timeout = timeout_seconds
        self._cookies: dict[str, str] = {}
        self._last_form_token = ""
        if self._url.scheme not in ("http", "https", UNIX) or not self._url.netloc:
            raise UsageError(
                f"{url!r} is not the URL of a server, such as https://kvb.example.org or "
                "http+unix://%2Frun%2Fkvb-admin%2Fblue.sock. Nothing was asked."
            )

    @property
    def is_behind_proxy(self) -> bool:
        """Whether a proxy answers, which may serve static files; False on a socket."""
        return self._url.scheme != UNIX

    def get(self, path: str, expect: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """GET, with these headers besides; raises SmokeTestFailed for another status."""
        answer = self._send("GET", path, None, expect, headers)
        if token := TOKEN.search(answer.text):
            self._last_form_token = token[1]
        return answer

    def post(self, path: str, fields: Mapping[str, str], expect: int = 302) -> Answer:
        """POST a form with the CSRF token of the page that was read last."""
        form = urlencode({"csrfmiddlewaretoken": self._last_form_token, **fields})
        return self._send("POST", path, form, expect)

    def require(self, found: object, otherwise: str) -> None:
        """Raise SmokeTestFailed with that text unless it is true."""
        if not found:
            raise SmokeTestFailed(otherwise)

    def _send(
        self,
        method: str,
        path: str,
        body: str | None,
        expect: int,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = _connect(self._url, self._timeout)
        try:
            sent = self._headers(path, body) | dict(headers or {})
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise SmokeTestFailed(f"{method} {path}: no answer: {error}") from error
        finally:
            connection.close()
        self._keep_cookies(response.headers.get_all("Set-Cookie", []))
        if response.status != expect:
            raise SmokeTestFailed(f"{method} {path}: {response.status} instead of {expect}")
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, found, text)

    def _headers(self, path: str, body: str | None) -> dict[str, str]:
        headers = {"User-Agent": "deploy_ops smoke test", "Connection": "close"}
        if self.is_behind_proxy:
            origin = f"{self._url.scheme}://{self._url.netloc}"
        else:
            host, proxy = _allowed_host(), _header_of_tls()
            headers |= {"Host": host, **proxy}
            origin = f"{'https' if proxy else 'http'}://{host}"
        if self._cookies:
            headers["Cookie"] = "; ".join(
                f"{name}={value}" for name, value in self._cookies.items()
            )
        if body is not None:
            headers |= {"Content-Type": FORM, "Origin": origin, "Referer": f"{origin}{path}"}
        return headers

    def _keep_cookies(self, lines: list[str]) -> None:
        for line in lines:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self._cookies.pop(name, None)
                else:
                    self._cookies[name] = morsel.coded_value


def _connect(url: SplitResult, timeout: float) -> http.client.HTTPConnection:
    if url.scheme == UNIX:
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(timeout)
        try:
            connection.sock.connect(unquote(url.netloc))
        except OSError as error:
            connection.close()
            raise SmokeTestFailed(f"{unquote(url.netloc)} does not answer: {error}") from error
        return connection
    if url.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(url.netloc, timeout=timeout, context=context)
    return http.client.HTTPConnection(url.netloc, timeout=timeout)


def _allowed_host() -> str:
    host = next((each for each in settings.ALLOWED_HOSTS if each != "*"), "localhost")
    return f"smoke{host}" if host.startswith(".") else host


def _header_of_tls() -> dict[str, str]:
    """What the proxy sets for a request that came over TLS, {} where the settings know of none."""
    if not settings.SECURE_PROXY_SSL_HEADER:
        return {}
    name, value = settings.SECURE_PROXY_SSL_HEADER
    return {name.removeprefix("HTTP_").replace("_", "-").title(): value}
