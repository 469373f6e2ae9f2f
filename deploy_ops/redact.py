"""Secrets are a type, so that printing one by mistake prints nothing.

Foreign text is another matter: PostgreSQL repeats the statement that failed and the values that
it met, and each of them may be a password. So of an error only what the server says about names
is shown; statements and values are hidden, whatever they look like.

All of it takes linear time, since strangers choose some of these texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

HIDDEN = "***"
_PASSWORD_IN_URL = re.compile(
    r"(?P<head>[a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,255}:)[^\s@]{1,1024}@", re.IGNORECASE
)
# password=x, password='it\'s' as libpq writes it, password=''x'' inside a literal; one that is cut
# off reaches to the end.
_PASSWORD_IN_DSN = re.compile(
    r"(?P<head>passw(?:or)?d\s{0,8}=(?!>)\s{0,8})"
    r"(?:''(?:[^'\\]|\\''|\\.)*+''|'(?:[^'\\]|\\.)++'|'(?!').*|[^\s;,&)]+)",
    re.IGNORECASE | re.DOTALL,
)
# PASSWORD 'x', PASSWORD => 'x', "password": "x", OPTIONS (user 'a', password 'x')
_PASSWORD_QUOTED = re.compile(
    r"(?P<head>(?:passw(?:or)?d|passphrase)[\"']?\s{0,8}(?:=>|[:(])?\s{0,8})"
    r"(?:[ebu]?&?'(?:[^'\\]|\\.|'')*+(?:'|\Z)|\"(?:[^\"\\]|\\.)*+(?:\"|\Z)|\$\$.*?(?:\$\$|\Z))",
    re.IGNORECASE | re.DOTALL,
)
# How libpq and PostgreSQL's programs lay out an error. A label begins a line, and what follows up
# to the next one belongs to it.
_LABEL = re.compile(
    r"(?P<label>[ \t]{0,8}(?:LINE \d{1,9}|DETAIL|HINT|CONTEXT|QUERY|STATEMENT|Command was):)"
    r"|(?:pg_\w{1,30}|psql)\b[^\n]{0,200}?: |(?:ERROR|FATAL|PANIC|WARNING|NOTICE): "
    r"|Traceback \(most recent|The above exception was|During handling of the above"
)
# Syntax errors and class 22 (data exceptions) quote the statement in their message, in the
# server's language; others quote names.
_SYNTAX_ERROR, _DATA_EXCEPTION = "42601", "22"
_QUOTES = "\"'»«„“”‘’"
# The same where no code tells: libpq, SQLite, the programs.
_QUOTED_VALUE = re.compile(
    r"(?P<head>\b(?:near|token:|after|value|role option|literal:|string:"
    r"|input syntax for [^:\n]{1,60}:|for parameter \"[^\"\n]{1,99}\":) )\"[^\n]*\""
)
# An @ inside a password of a URL makes libpq look for a host of its second half.
_HOST_WITH_PASSWORD = re.compile(r"(?P<head>host name \")[^\"\n]{0,255}@[^\"\n]{0,255}")
_LITERAL = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|\be'(?:[^'\\]|\\.|'')*+(?:'|\Z)|'(?:[^']|'')*+(?:'|\Z)"
    r"|(?<!\w)\$(?:[a-z_]\w{0,62})?\$.*",
    re.IGNORECASE | re.DOTALL,
)
_AFTER_PASSWORD = re.compile(r"(?P<head>\bpassword)\b.*", re.IGNORECASE | re.DOTALL)


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
    """Hide passwords in URLs, connection strings and SQL within foreign text."""
    text = _PASSWORD_IN_URL.sub(rf"\g<head>{HIDDEN}@", text)
    text = _PASSWORD_IN_DSN.sub(rf"\g<head>{HIDDEN}", text)
    return _PASSWORD_QUOTED.sub(rf"\g<head>{HIDDEN}", text)


def error_text(error: BaseException) -> str:
    """Return what an exception says, without statements, values of rows, and passwords.

    What is left names tables, columns and constraints, so that its reader knows where to look.
    """
    try:
        text = str(error)
    except Exception as second:  # pylint: disable=broad-exception-caught  # foreign exceptions
        return f"nothing ({type(second).__name__} when asked)"
    return _cleaned(text, quotes_the_statement=_quotes_the_statement(error)).strip()


def server_text(text: str) -> str:
    """The same for text that PostgreSQL or one of its programs has printed."""
    return _cleaned(text, quotes_the_statement=False)


def statement_text(statement: str) -> str:
    """Return a statement without its literals and comments; it may be cut off anywhere."""
    return _AFTER_PASSWORD.sub(rf"\g<head> {HIDDEN}", _LITERAL.sub(f"'{HIDDEN}'", statement))


def _quotes_the_statement(error: BaseException) -> bool:
    """Tell it by the SQLSTATE, which Django's exceptions have in the one they wrap."""
    state = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""
    return state == _SYNTAX_ERROR or state.startswith(_DATA_EXCEPTION)


def _cleaned(text: str, quotes_the_statement: bool) -> str:
    shown = [_part(label, part, quotes_the_statement) for label, part in _parts(text)]
    text = _QUOTED_VALUE.sub(rf'\g<head>"{HIDDEN}"', "\n".join(shown))
    return redact(_HOST_WITH_PASSWORD.sub(rf"\g<head>{HIDDEN}", text))


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Split a text at its labels; what has none is a message."""
    label, lines = "", list[str]()
    for line in text.split("\n"):
        if found := _LABEL.match(line):
            if label or lines:
                yield label, "\n".join(lines)
            label, lines = found["label"] or "", []
            line = line[len(label) :]
        lines.append(line)
    yield label, "\n".join(lines)


def _part(label: str, part: str, quotes_the_statement: bool) -> str:
    """One part as it is shown: names and the server's own words stay, the rest is hidden."""
    name = label.strip().rstrip(":")
    if name == "":
        return _without_quoted(part) if quotes_the_statement else part
    if name == "HINT":
        return label + part
    if name == "DETAIL" and not quotes_the_statement:
        return label + _without_values(part)
    return f"{label} {HIDDEN}"


def _without_values(detail: str) -> str:
    """Key (a)=(x) exists -> Key (a)=(***) exists; any other value: from its first quote on."""
    start = detail.find("=(") + 1
    if not start:
        found = [at for quote in f"({_QUOTES}" if (at := detail.find(quote)) >= 0]
        if not found:
            return detail
        start = min(found)
    end = detail.rfind(")")
    return f"{detail[:start]}({HIDDEN}){detail[end + 1 :] if end > start else ''}"


def _without_quoted(message: str) -> str:
    """Hide what stands between the first and the last quote, whichever the language uses."""
    places = [at for at, letter in enumerate(message) if letter in _QUOTES]
    if not places:
        return message
    return f'{message[: places[0]]}"{HIDDEN}"{message[places[-1] + 1 :]}'
