"""What receivers must be, in settings as in deploy/host.toml; without Django, for the latter."""

from collections.abc import Iterable
from pathlib import Path

WEB = ("http://", "https://")
MAIL = "mailto:"


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


def is_mail(receiver: object) -> bool:
    """Whether it is to be written to: `mailto:ops@example.org`."""
    return isinstance(receiver, str) and receiver.startswith(MAIL)
