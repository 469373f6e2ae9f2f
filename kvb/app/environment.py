"""Reads what production needs from the environment, and refuses what is not valid for it.

A value comes from the variable NAME or, as Docker and systemd hand secrets over, from the file
whose path is in NAME_FILE. No error ever contains the value.
"""

import os
from pathlib import Path
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

# Parts of example values in guides, Django's own template and .env files of the world.
PLACEHOLDERS = (
    "change-me",
    "changeme",
    "change_me",
    "django-insecure",
    "placeholder",
    "replace-me",
    "replace_me",
    "secret-key",
    "secret_key",
    "secretkey",
    "your-secret",
    "your_secret",
)
PLACEHOLDER_PASSWORDS = ("", "admin", "db_password", "pass", "password", "postgres", "secret")


# Set by wsgi.py and asgi.py before Django reads its settings.
SERVES_HTTP = "KVB_SERVES_HTTP"


def serves_http() -> bool:
    """Whether this process answers requests; a management command does not."""
    return SERVES_HTTP in os.environ


def read_directory(name: str) -> Path | None:
    """An optional directory that is there and can be written; ImproperlyConfigured otherwise."""
    value = os.environ.get(name, "").strip()
    if not value:
        return None
    if not os.access(value, os.W_OK | os.X_OK):
        cure = f"Make it: install -d -m 0750 -o USER {value}, where USER runs the application"
        raise _refusal(name, f"names {value}, which is no directory that can be written", cure)
    return Path(value).absolute()


def read_required(name: str) -> str:
    """The value of NAME, or the content of the file NAME_FILE; ImproperlyConfigured without."""
    value, path = os.environ.get(name, ""), os.environ.get(f"{name}_FILE", "")
    if value and path:
        raise _refusal(name, f"is given twice, by {name} and by {name}_FILE", "Keep one of them")
    if path:
        value = _read_file(name, Path(path))
    if not value.strip():
        raise _refusal(name, "is missing", f"Set {name}, or {name}_FILE to a file with the value")
    return value.strip()


def read_secret(name: str, *, least_characters: int) -> str:
    """A required value that is no placeholder and long enough; ImproperlyConfigured otherwise."""
    value = read_required(name)
    cure = (
        "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(48))', and set it as"
        f" {name} or in the file that {name}_FILE names"
    )
    if _is_placeholder(value):
        raise _refusal(name, "is a placeholder from an example", cure)
    if len(value) < least_characters or len(set(value)) < 5:
        raise _refusal(name, f"is too short to be secret (at least {least_characters})", cure)
    return value


def read_database_url(name: str = "DATABASE_URL") -> str:
    """A required database address whose password, if it has one, is no placeholder."""
    url = read_required(name)
    credentials = url.partition("://")[2].rpartition("@")[0]
    _, has_password, password = credentials.partition(":")
    password = unquote(password).lower()
    if has_password and (password in PLACEHOLDER_PASSWORDS or _is_placeholder(password)):
        raise _refusal(name, "has a placeholder as password", "Set the password of the database")
    return url


def read_list(name: str) -> list[str]:
    """A required comma-separated list."""
    return _split(read_required(name))


def read_optional_list(name: str) -> list[str]:
    """A comma-separated list that may be missing."""
    return _split(os.environ.get(name, ""))


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _read_file(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        cure = f"Make {path} readable for the user that runs the application"
        raise _refusal(name, f"can't be read from {name}_FILE={path} ({reason})", cure) from None


def _is_placeholder(value: str) -> bool:
    return any(placeholder in value.lower() for placeholder in PLACEHOLDERS)


def _refusal(name: str, what: str, cure: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} {what}. Nothing was started. {cure}.")
