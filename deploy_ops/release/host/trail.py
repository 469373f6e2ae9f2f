"""Events of the host: in the application's audit, which belongs to its user, and by webhook."""

import os
import shutil
from contextlib import suppress

from deploy_ops.audit import AUDIT, Event, record_event
from deploy_ops.errors import DeployOpsError
from deploy_ops.notify import notify
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.watch import Tell


def note(host: Host, tell: Tell, event: Event) -> None:
    """Add the event and tell the receivers. A deployment does not fail for it: that is told."""
    try:
        if not host.audit.exists():
            host.audit.mkdir(mode=0o700, parents=True)
            _give(host, host.audit)
        record_event(host.audit, event)
        _give(host, host.audit / AUDIT)
    except (OSError, DeployOpsError) as error:
        with suppress(OSError):
            tell(f"The audit in {host.audit} lacks this {event.kind}: {error}")
    try:
        if host.notify and host.notify_secret_file:
            notify(event, host.notify, host.notify_secret_file)
    except DeployOpsError as error:
        with suppress(OSError):
            tell(str(error))


def _give(host: Host, path: "os.PathLike[str]") -> None:
    if host.user and os.geteuid() == 0:
        shutil.chown(path, host.user)
