"""Events of the host: in the application's audit, which belongs to its user, and to receivers.

Webhooks are told from here, since no release may be able to. E-mail is the application's: the
release that serves writes it.
"""

import os
import shutil
from contextlib import suppress

from deploy_ops.audit import AUDIT, Event, record_event
from deploy_ops.errors import DeployOpsError, ProgramError
from deploy_ops.notify import notify
from deploy_ops.release.host.colours import serving
from deploy_ops.release.host.commands import manage
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.tags import parse
from deploy_ops.release.host.watch import Tell

# To start a release's command, and for what it gives a mail server.
MAIL_SECONDS = 30
TOOK_TOO_LONG = 124  # what `timeout` ends with; a shell adds 128 to the number of a signal


def note(host: Host, tell: Tell, event: Event) -> None:
    """Add the event and tell the receivers; a failure is printed, the deployment goes on."""
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
    if event.outcome.needs_a_person:
        _write_mail(host, tell, event)


def _write_mail(host: Host, tell: Tell, event: Event) -> None:
    colour = serving(host)
    tag = parse(colour.release(host) or "") if colour else None
    if tag is None:  # before the first deployment, which somebody watches
        return
    try:
        manage(host, tag, "notify", event.kind, event.at, seconds=MAIL_SECONDS)
    except (OSError, DeployOpsError) as error:
        said = "Nobody was written to by e-mail"
        if isinstance(error, ProgramError) and _was_ended(error):
            said = "Whether anybody was written to by e-mail is not known"
        with suppress(OSError):
            tell(f"{said}: {error}")


def _was_ended(error: ProgramError) -> bool:
    """Whether a command had begun and did not end by itself: its time was up, or a signal came."""
    code = error.returncode
    return code is not None and (code < 0 or code >= TOOK_TOO_LONG)


def _give(host: Host, path: "os.PathLike[str]") -> None:
    if host.user and os.geteuid() == 0:
        shutil.chown(path, host.user)
