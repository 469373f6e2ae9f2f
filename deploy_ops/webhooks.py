"""What receivers must be, in settings as in deploy/host.toml; without Django, for the latter."""

import re
from collections.abc import Iterable
from pathlib import Path

WEB = ("http://", "https://")
MAIL = "mailto:"
_ADDRESS = re.compile(rf"{MAIL}[^@\s,;?<>]+@[^@\s,;?<>]+")


def find_fault(names: tuple[str, str], urls: Iterable[object], secret: Path | None) -> str | None:
    """What is wrong with webhooks, without a full stop; None if nothing is.

    `names` are those of the two options, as the reader has written them: addresses, secret file.
    """
    given = list(urls)
    if not all(isinstance(url, str) and url.startswith(WEB) for url in given):
        return f"{names[0]} wants addresses such as https://hooks.example.org/deploy"
    if given and secret is None:
        return f"{names[0]} wants {names[1]} too: what is told is signed"
    return None


def find_no_address(name: str, receivers: Iterable[object]) -> str | None:
    """The same of what is to be written to; others are passed over."""
    for each in filter(is_mail, receivers):
        if not _ADDRESS.fullmatch(str(each)):
            return f"{name} wants one address behind {MAIL}, not {str(each).removeprefix(MAIL)!r}"
    return None


def is_mail(receiver: object) -> bool:
    """Whether it is to be written to: `mailto:ops@example.org`."""
    return isinstance(receiver, str) and receiver.startswith(MAIL)
