"""How many visitors get the canary: links to sockets, so that a share changes without a reload.

nginx puts each visitor on one of seven levels by a cookie, and each level has a link. Levels are
nested: who got the canary at 5 % gets it at 10 % too.
"""

from deploy_ops.errors import ReleaseRefused
from deploy_ops.release.host.colours import CURRENT, Colour, link, serving
from deploy_ops.release.host.config import Host

CANARY = "canary.sock"
SHARES = (1, 2, 5, 10, 25, 50)


def share_of(host: Host) -> int | None:
    """The share in per cent that the canary gets; None where there is none."""
    colour = canary_colour(host)
    if colour is None:
        return None
    on = [share for share in SHARES if _points_to(host, f"canary-{share}.sock", colour)]
    return max(on, default=0)


def canary_colour(host: Host) -> Colour | None:
    """The colour of the canary."""
    old = serving(host)
    is_on = old is not None and _points_to(host, CANARY, old.other)
    return old.other if old and is_on else None


def set_share(host: Host, colour: Colour, share: int) -> None:
    """Give the canary so many visitors, and those who asked for it."""
    link(host.sockets / CANARY, f"{colour}.sock")
    for each in SHARES:
        target = f"{colour}.sock" if each <= share else CURRENT
        link(host.sockets / f"canary-{each}.sock", target)


def end_share(host: Host) -> None:
    """Everybody to what serves."""
    for each in SHARES:
        link(host.sockets / f"canary-{each}.sock", CURRENT)
    link(host.sockets / CANARY, CURRENT)


def refuse_beside_canary(host: Host) -> None:
    """Raise ReleaseRefused if there is one: it has the colour that anything else would need."""
    if canary_colour(host):
        raise ReleaseRefused(
            "There is a canary already. Nothing was changed. Give it another share, or end it:\n"
            "    ./deploy.sh --share 10\n    ./deploy.sh --promote\n    ./deploy.sh --abort"
        )


def _points_to(host: Host, name: str, colour: Colour) -> bool:
    path = host.sockets / name
    return path.is_symlink() and path.readlink().name == f"{colour}.sock"
