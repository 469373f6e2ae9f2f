"""Clients held while a database is swapped or cloned, so that none of their requests fails."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from deploy_ops.conf import conf
from deploy_ops.databases import Database
from deploy_ops.errors import ConfigurationError, DatabaseUnavailable, RestoreFailed
from deploy_ops.hold_file import HoldFile
from deploy_ops.progress import Progress


@dataclass(frozen=True, slots=True)
class Reason:
    """What clients are held for.

    `purpose` is told to whoever looks at the hold; `work` is what would cut requests off, and
    `otherwise` what to do where some do not end in time.
    """

    purpose: str
    work: str
    otherwise: str


@contextmanager
def clients_held(
    database: Database, reason: Reason, progress: Progress, *, cuts_off: bool
) -> Iterator[None]:
    """Hold new requests, and clients of PgBouncer, for the block, as far as that is configured.

    It begins when what was in flight has ended, within half of DEPLOY_OPS_HOLD_SECONDS. What runs
    for longer is left to be cut off if `cuts_off`, or RestoreFailed is raised.
    """
    within = timedelta(seconds=conf.hold_seconds / 2)
    with ExitStack() as stack:
        if (path := conf.hold_file) is not None:
            _name_others(database, reason, progress)
            hold = HoldFile(path)
            try:
                stack.enter_context(hold.held(reason.purpose))
            except ConfigurationError as error:
                if not cuts_off:
                    raise
                progress.say(str(error))
            else:
                progress.say("Holding new requests until those in flight have ended")
                if not hold.wait_for_requests(within):
                    _overdue(reason, within, progress, cuts_off)
        stack.enter_context(database.paused(within, cuts_off=cuts_off))
        yield


def _name_others(database: Database, reason: Reason, progress: Progress) -> None:
    try:
        others = database.clients_elsewhere()
    except DatabaseUnavailable as error:
        progress.say(f"Whether other hosts are connected is not known: {error}")
        return
    if others:
        progress.say(
            "The hold file holds requests on this host only. These are not held, and "
            f"{reason.work} will disconnect them:\n" + "\n".join(f"- {other}" for other in others)
        )


def _overdue(reason: Reason, within: timedelta, progress: Progress, cuts_off: bool) -> None:
    running = f"A request has been running for more than {within.total_seconds():.0f} s"
    if cuts_off:
        progress.say(f"{running}; {reason.work} will cut it off")
        return
    raise RestoreFailed(
        f"{running}, and {reason.work} would cut it off. The live database was not changed, and "
        f"requests go on. {reason.otherwise}"
    )
