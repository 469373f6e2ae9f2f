"""Words of a command line that are more than text; a bad one gets a sentence and exit code 2."""

from argparse import ArgumentTypeError
from collections.abc import Iterable
from urllib.parse import urlsplit

from deploy_ops.errors import UsageError

MOST_JOBS = 100  # each is a session of its own, and servers have 100 unless told otherwise


def job_count(text: str) -> int:
    """Read how many tables are done at a time."""
    if not (text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MOST_JOBS):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST_JOBS}")
    return int(text)


def server_url(text: str) -> str:
    """Return the URL as it is, if it can be taken apart.

    urlsplit drops line breaks and tabs, and no request can be made for what has a space.
    """
    if any(each.isspace() or not each.isprintable() for each in text if each.isascii()):
        raise ArgumentTypeError(f"{text!r} is no URL: it has a space or a control character")
    try:
        urlsplit(text).port  # pylint: disable=expression-not-assigned  # it is looked at when asked
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no URL: {error}") from None
    return text


def require_text(words: Iterable[object]) -> None:
    """Raise UsageError for what no file or database can hold: bytes that are no UTF-8, and NUL.

    Python reads such bytes of a command line as lone surrogates (PEP 383).
    """
    for word in words:
        if isinstance(word, (list, tuple)):
            require_text(word)
        elif isinstance(word, str) and ("\0" in word or not _is_utf8(word)):
            fault = "has a NUL character" if "\0" in word else "is not text in UTF-8"
            raise UsageError(f"{word!a} {fault}. Nothing was changed.")


def _is_utf8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
