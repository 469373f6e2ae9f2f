"""Secrets are a type, so that printing one by mistake prints nothing."""

import re
from dataclasses import dataclass

HIDDEN = "***"
# Runs are bounded, since strangers choose some of these texts: unbounded ones take quadratic time.
_PASSWORD_IN_URL = re.compile(
    r"(?P<head>[a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,255}:)[^\s@]{1,1024}@", re.IGNORECASE
)
_PASSWORD_IN_DSN = re.compile(r"(?P<head>\bpassword\s*=\s*)('[^']*'|\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that str() and repr() hide; `reveal()` is the only way to it."""

    _value: str

    def reveal(self) -> str:
        """Return the value, at the one place that needs it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"


def redact(text: str) -> str:
    """Hide passwords in URLs and connection strings within foreign text."""
    text = _PASSWORD_IN_URL.sub(rf"\g<head>{HIDDEN}@", text)
    return _PASSWORD_IN_DSN.sub(rf"\g<head>{HIDDEN}", text)
