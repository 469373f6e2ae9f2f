"""What serves, what the colours have, and which releases there are, as text."""

import os
from collections.abc import Iterator

from deploy_ops.lock_file import holder_of
from deploy_ops.release.host.answers import ask_ready
from deploy_ops.release.host.colours import Colour, serving
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.record import cut_off
from deploy_ops.release.host.releases import find_release, releases
from deploy_ops.release.host.shares import canary_colour, share_of
from deploy_ops.release.host.story import LOCK


def status(host: Host) -> str:
    """One line for each colour and release, and who is at work."""
    return "\n".join(_lines(host))


def _lines(host: Host) -> Iterator[str]:
    active, canary = serving(host), canary_colour(host)
    for colour in Colour:
        role = "serves" if colour is active else ""
        role = f"canary, {share_of(host)} %" if colour is canary else role
        tag = colour.release(host) or "nothing"
        yield f"{colour:6} {tag:12} {role:12} {ask_ready(host, colour)}".rstrip()
    for each in releases(host):
        built = "built" if find_release(host, each) else "incomplete: it is built again next time"
        yield f"{'':6} {each.name:12} {built}"
    if os.path.exists(host.state) and not os.access(host.state, os.R_OK | os.X_OK):
        yield f"{host.state} is closed to this user: who is at work is not known. Ask as root."
    if holder := holder_of(host.state / LOCK):
        yield f"At work: {holder}"
    elif record := cut_off(host):
        yield f"A {record.kind} of {record.tag} was cut off; the next call puts it in order."
