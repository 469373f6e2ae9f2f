"""Secrets that are none: what a template had in their place, or what anybody would try first.

Each is named by its setting and by what is wrong with it; no part of a value is ever shown.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db import connections

# As `startproject` begins a key that it generates for development (django.security.W009).
INSECURE_PREFIX = "django-insecure-"
LEAST_CHARACTERS = 50
LEAST_DIFFERENT = 5
PLACEHOLDER = re.compile(
    r"change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|this)|place[-_ ]?holder|insert[-_ ].*[-_ ]here"
    r"|your[-_ ].*(?:secret|key|password|token)|^(?:todo|fixme|secret|geheim|x{3,}|\*{3,}|<.*>)$"
    r"|dummy|insecure",
    re.IGNORECASE,
)
GUESSED_FIRST = frozenset(
    {"postgres", "postgresql", "password", "passwort", "admin", "root", "test", "geheim", "secret"}
    | {"123456", "12345678", "qwerty"}
)
# Narrower than Django's own pattern, which also means AUTH_USER_MODEL and PASSWORD_HASHERS.
SECRET_NAME = re.compile(r"(?:SECRET|TOKEN|PASSWORD|PASSPHRASE|API_KEY|ACCESS_KEY)$")


def placeholder_findings() -> Iterator[CheckMessage]:
    """Say which secrets of the settings are none (R014)."""
    for name, fault in _faults():
        yield Error(
            f"{name} is no secret: {fault}. Whoever guesses it can act as the application, and its "
            "value is not shown here.",
            hint="Put a new one where the host keeps its secrets:\n"
            "    python3 -c 'import secrets; print(secrets.token_urlsafe(48))'",
            id="deploy_ops.R014",
        )


def _faults() -> Iterator[tuple[str, str]]:
    yield from _named("SECRET_KEY", _fault_of_key(settings.SECRET_KEY))
    for number, key in enumerate(settings.SECRET_KEY_FALLBACKS):
        yield from _named(f"SECRET_KEY_FALLBACKS[{number}]", _fault_of_key(key))
    for alias, database in connections.settings.items():
        fault = _fault_of_password(database)
        yield from _named(f'The password in DATABASES["{alias}"]', fault)
    for name, value in _other_secrets():
        if isinstance(value, str) and PLACEHOLDER.search(value):
            yield name, "it is what a template has in its place"


def _other_secrets() -> Iterator[tuple[str, object]]:
    """What the project has set; Django warns of who reads an old default of its own."""
    for name in sorted(filter(SECRET_NAME.search, {*dir(settings)})):
        if settings.is_overridden(name):  # type: ignore[misc]  # the stubs have it elsewhere
            yield name, getattr(settings, name)
    for alias, mailer in getattr(settings, "MAILERS", {}).items():  # from Django 6.1 on
        yield f'The password in MAILERS["{alias}"]', mailer.get("OPTIONS", {}).get("password")


def _named(name: str, fault: str) -> Iterator[tuple[str, str]]:
    if fault:
        yield name, fault


def _fault_of_key(key: str | bytes) -> str:
    text = key.decode(errors="replace") if isinstance(key, bytes) else str(key)
    if text.startswith(INSECURE_PREFIX):
        return "startproject has generated it for development"
    if PLACEHOLDER.search(text):
        return "it is what a template has in its place"
    if len(text) < LEAST_CHARACTERS:
        return f"it has fewer than {LEAST_CHARACTERS} characters"
    if len(set(text)) < LEAST_DIFFERENT:
        return f"it has fewer than {LEAST_DIFFERENT} different characters"
    return ""


def _fault_of_password(database: Mapping[str, Any]) -> str:
    """An empty one is none of ours to judge: the server may know its users without."""
    password = str(database.get("PASSWORD") or "")
    if not password:
        return ""
    if password.lower() in (str(database.get("USER")).lower(), str(database.get("NAME")).lower()):
        return "it is the name of the user or of the database"
    if password.lower() in GUESSED_FIRST:
        return "it is one that is guessed first"
    if PLACEHOLDER.search(password):
        return "it is what a template has in its place"
    return ""
