"""Takes out of a text what nobody may read in a log: secrets by their value and by their name.

Django's SafeExceptionReporterFilter hides settings by name in its error page. A log line has no
names to go by, so the values themselves are looked for.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from django.conf import settings

from deploy_ops.redact import HIDDEN, redact

# Narrower than Django's own pattern, which also means AUTH_USER_MODEL and PASSWORD_HASHERS.
_SECRET_NAME = re.compile(
    r"SECRET|TOKEN$|PASSWORD$|PASSWD$|PASSPHRASE$|_KEYS?$|CREDENTIAL|SIGNATURE$", re.IGNORECASE
)
# `password=...`, `"api_key": "..."`, `Authorization: Bearer ...`, `sessionid=...; csrftoken=...`
# What stands before the word does not matter, and what follows is bounded: callers choose their
# path and headers, and an unbounded run would take quadratic time for each.
_NAMED = re.compile(
    r"""(?P<name>(?:passw(?:or)?d|secret|token|api[_-]?key|authorization|sessionid)
    [\w-]{0,64}["']?\s*(?:=|:)\s*)(?P<scheme>(?:bearer|basic|token)\s+)?
    (?P<value>b?"[^"]*"|b?'[^']*'|[^\s"',;&)}\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
# Wherever a header's value went without its name; prose seldom has a digit there.
_BEARER = re.compile(r"\b(?P<scheme>bearer|basic)\s+(?=\S*\d)[\w.~+/=-]{8,}", re.IGNORECASE)
# Shorter ones would black out ordinary words.
LEAST_CHARACTERS = 6


def without_secrets(text: str) -> str:
    """The text with every secret of this application replaced, wherever it stands."""
    for value in _secret_values():
        text = text.replace(value, HIDDEN)
    text = _NAMED.sub(rf"\g<name>{HIDDEN}", redact(text))
    return _BEARER.sub(rf"\g<scheme> {HIDDEN}", text)


@cache
def _secret_values() -> tuple[str, ...]:
    """Longest first: one may contain another."""
    # What Django has by default is no secret, and it warns of who reads what it will remove.
    names = filter(str.isupper, dir(settings))
    given: dict[str, Any] = {
        name: getattr(settings, name)
        for name in names
        if settings.is_overridden(name)  # type: ignore[misc]  # the stubs have it elsewhere
    }
    found = {*_secrets_in(given), *_secrets_in(os.environ)}
    return tuple(sorted(found, key=len, reverse=True))


def _secrets_in(value: Any, name: str = "") -> Iterator[str]:
    """Values below a mapping whose names say that they are secret."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets_in(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets_in(inner, name)
    elif isinstance(value, str) and len(value) >= LEAST_CHARACTERS and _SECRET_NAME.search(name):
        yield value
