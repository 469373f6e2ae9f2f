"""Two colours, and which of them serves: links, each replaced in one rename.

nginx opens `current.sock` anew for each request, so the rename of one link is the whole switch: no
reload, and no request fails (docs/decisions/0023-switch-by-a-link.md). The directory of sockets is
empty after a boot; by `active` in the state directory the link is then made anew.
"""

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from deploy_ops.files import sync_directory, write_atomically
from deploy_ops.release.host.config import Host

CURRENT = "current.sock"
ACTIVE = "active"


class Colour(StrEnum):
    """One of two places for a release."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> "Colour":
        """The one that is not this."""
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE

    def socket(self, host: Host) -> Path:
        """Where its release listens."""
        return host.sockets / f"{self}.sock"

    def release(self, host: Host) -> str | None:
        """The tag of the release it has, None where it has none."""
        try:
            return os.path.basename(os.readlink(host.colours / self))
        except FileNotFoundError:
            return None


def serving(host: Host) -> Colour | None:
    """The colour that gets the requests; None before the first deployment."""
    for name in (_target(host.sockets / CURRENT).removesuffix(".sock"), _noted(host)):
        if name in list(map(str, Colour)):
            return Colour(name)
    return None


def place(host: Host, colour: Colour, tag: str | None) -> None:
    """Give a colour that does not run a release, or none."""
    host.colours.mkdir(exist_ok=True)
    if tag is None:
        (host.colours / colour).unlink(missing_ok=True)
    else:
        link(host.colours / colour, f"../releases/{tag}")


def switch(host: Host, colour: Colour) -> None:
    """Send all requests to a colour from now on; what is in flight ends where it began."""
    link(host.sockets / CURRENT, f"{colour}.sock")
    note(host, colour)


def note(host: Host, colour: Colour) -> None:
    """Keep for the next boot, and for the timers, which colour serves."""
    write_atomically(host.state / ACTIVE, f"{colour}\n".encode())
    os.chmod(host.state / ACTIVE, 0o644)
    link(host.root / "current", os.path.relpath(host.colours / colour, host.root))


def link(path: Path, target: str) -> None:
    """Make or replace a symbolic link in one step, durable when this returns."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    os.symlink(target, beside)
    os.replace(beside, path)
    sync_directory(path.parent)


def in_use(host: Host) -> Iterator[str]:
    """Tags that a colour has, running or not: the one that serves and the way back."""
    return (tag for colour in Colour if (tag := colour.release(host)))


def _target(path: Path) -> str:
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return ""


def _noted(host: Host) -> str:
    try:
        return (host.state / ACTIVE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
