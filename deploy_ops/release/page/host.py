"""Which colour serves, which release each has, and a canary's share: where deploy.sh is used.

Where it does not, or its files are not for this process to read, nothing is said about colours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from deploy_ops.errors import ConfigurationError
from deploy_ops.release.host import config
from deploy_ops.release.host.colours import Colour, serving
from deploy_ops.release.host.shares import canary_colour, share_of

RELEASES = "releases"


@dataclass(frozen=True, slots=True)
class Host:
    """The colour that serves ("" if not known); that of the canary, and its share in percent.

    `colours` are those of versions.
    """

    active: str = ""
    canary: str = ""
    share: int = 0
    colours: Mapping[str, str] = field(default_factory=dict)


def read_host() -> Host:
    """What the links of the host say."""
    try:
        host = find_host()
        return _look(host) if host else Host()
    except (ConfigurationError, OSError):
        return Host()


def find_host() -> config.Host | None:
    """The host whose release runs here; None elsewhere. Raises ConfigurationError."""
    release = Path(getattr(settings, "BASE_DIR", ""))
    return config.read_host(release.parent.parent) if release.parent.name == RELEASES else None


def _look(host: config.Host) -> Host:
    active = serving(host)
    if active is None:
        return Host()
    tags = {colour: colour.release(host) for colour in Colour}
    return Host(
        active=str(active),
        canary=str(canary_colour(host) or ""),
        share=share_of(host) or 0,
        colours={tag.removeprefix("v"): str(colour) for colour, tag in tags.items() if tag},
    )
