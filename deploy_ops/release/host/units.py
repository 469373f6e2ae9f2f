"""The units of a colour, by systemctl: enabled while they run, so that a boot starts the same."""

from deploy_ops.errors import ProgramError, ReleaseFailed
from deploy_ops.process import run
from deploy_ops.release.host.colours import Colour
from deploy_ops.release.host.config import COLOUR, Host


def start(host: Host, colour: Colour) -> None:
    """Start what the colour has; returns when systemd says that it runs. Raises ReleaseFailed."""
    for unit in _units(host, colour):
        try:
            run(["systemctl", "enable", "--now", unit])
        except ProgramError as error:
            raise ReleaseFailed(
                f"{unit} does not start. Its own words:\n    journalctl --unit {unit}\n{error}"
            ) from error


def stop(host: Host, colour: Colour) -> None:
    """Let it end what is in flight, and stop it. Raises ProgramError."""
    for unit in reversed(_units(host, colour)):
        run(["systemctl", "disable", "--now", unit])


def is_running(host: Host, colour: Colour) -> bool:
    """Whether systemd says that the unit which serves is active."""
    try:
        run(["systemctl", "is-active", "--quiet", _units(host, colour)[0]])
    except ProgramError:
        return False
    return True


def _units(host: Host, colour: Colour) -> list[str]:
    return [unit.replace(COLOUR, colour) for unit in host.units]
