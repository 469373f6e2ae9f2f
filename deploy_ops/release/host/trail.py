"""Events of the host in the application's audit, which belongs to the application's user."""

import os
import shutil
from contextlib import suppress

from deploy_ops.audit import AUDIT, Event, record_event
from deploy_ops.errors import DeployOpsError
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.watch import Tell


def note(host: Host, tell: Tell, event: Event) -> None:
    """Add the event. What cannot be written is told: a deployment does not fail for it."""
    try:
        if not host.audit.exists():
            host.audit.mkdir(mode=0o700, parents=True)
            _give(host, host.audit)
        record_event(host.audit, event)
        _give(host, host.audit / AUDIT)
    except (OSError, DeployOpsError) as error:
        with suppress(OSError):
            tell(f"The audit in {host.audit} lacks this {event.kind}: {error}")


def _give(host: Host, path: "os.PathLike[str]") -> None:
    if host.user and os.geteuid() == 0:
        shutil.chown(path, host.user)
