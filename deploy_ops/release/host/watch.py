"""A release that has just got its requests is watched: one that serves worse gives them back."""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from deploy_ops.errors import ReleaseFailed
from deploy_ops.release.host.answers import ask, ask_ready, is_ready
from deploy_ops.release.host.colours import Colour
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.figures import Figures, parse, worse
from deploy_ops.release.host.tags import Tag

POLL_SECONDS = 0.25
ASKED_BACK = "asked-back"  # a file by which another call asks for the way back
WATCH = "watch"  # the step of its name
FAILED_POLLS = 3
Tell = Callable[[str], None]


def read_figures(host: Host, colour: Colour) -> Figures | None:
    """What a colour has counted since it started; None where it does not tell us."""
    if host.metrics_token_file is None:
        return None
    try:
        token = host.metrics_token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    headers = {
        "Host": urlsplit(host.url).netloc,
        "X-Forwarded-Proto": urlsplit(host.url).scheme,
        "Authorization": f"Bearer {token}",
    }
    answer = ask(colour.socket(host), host.metrics_path, headers)
    try:
        return parse(answer.text) if answer.status == 200 else None
    except (ValueError, KeyError):
        return None


def watch(
    host: Host, colour: Colour, tag: Tag, start: Figures | None, old: Callable[[], Figures | None]
) -> str:
    """Watch a colour for `watch_seconds`; return what was compared. Raises ReleaseFailed.

    What it has counted since `start` is compared with what `old` gives: the figures of the release
    before, of the last minutes or of the same time.
    """
    failed, end = 0, time.monotonic() + host.watch_seconds
    said = f"no {FAILED_POLLS} polls in a row failed; its errors and times were not compared"
    while time.monotonic() < end:
        if (host.state / ASKED_BACK).exists():
            raise ReleaseFailed(f"A rollback was requested while {tag.name} was watched.")
        failed = 0 if is_ready(host, colour, tag) else failed + 1
        if failed == FAILED_POLLS:
            last = ask_ready(host, colour)
            raise ReleaseFailed(f"{tag.name} is not ready any more. It answered last: {last}")
        now, before = read_figures(host, colour), old()
        if start is not None and now is not None and before is not None:
            new = now.since(start)
            if reason := worse(new, before):
                raise ReleaseFailed(f"{tag.name} serves worse than the release before: {reason}.")
            said = f"{new.requests:.0f} requests, {new.error_share:.1%} of them errors"
        time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))
    return said
