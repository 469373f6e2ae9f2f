"""Clients held while a restore swaps, so that none of their requests fails."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError, DatabaseUnavailable, RestoreFailed
from deploy_ops.hold_file import HoldFile
from deploy_ops.restore.job import RestoreJob


@contextmanager
def clients_held(job: RestoreJob, *, cuts_off: bool) -> Iterator[None]:
    """Hold new requests, and clients of PgBouncer, for the block, as far as that is configured.

    It begins when what was in flight has ended, within half of DEPLOY_OPS_HOLD_SECONDS. What runs
    for longer is left to be cut off by the swap if `cuts_off`, or RestoreFailed is raised.
    """
    within = timedelta(seconds=conf.hold_seconds / 2)
    with ExitStack() as stack:
        if (path := conf.hold_file) is not None:
            _name_others(job)
            hold = HoldFile(path)
            try:
                stack.enter_context(hold.held(f"restore of {job.backup.id}"))
            except ConfigurationError as error:
                if not cuts_off:
                    raise
                job.progress.say(str(error))
            else:
                job.progress.say("Holding new requests until those in flight have ended")
                if not hold.wait_for_requests(within):
                    _overdue(job, within, cuts_off)
        stack.enter_context(job.database.paused(within, cuts_off=cuts_off))
        yield


def _name_others(job: RestoreJob) -> None:
    try:
        others = job.database.clients_elsewhere()
    except DatabaseUnavailable as error:
        job.progress.say(f"Whether other hosts are connected is not known: {error}")
        return
    if others:
        job.progress.say(
            "The hold file is of this host. Not held, and disconnected by the swap:\n"
            + "\n".join(f"- {other}" for other in others)
        )


def _overdue(job: RestoreJob, within: timedelta, cuts_off: bool) -> None:
    running = f"A request has been running for more than {within.total_seconds():.0f} s"
    if cuts_off:
        job.progress.say(f"{running}, and is cut off by the swap")
        return
    raise RestoreFailed(
        f"{running}, and the swap would cut it off. The live database was not changed, and "
        "requests go on. Restore again when there are none that long, give them longer by "
        "DEPLOY_OPS_HOLD_SECONDS, half of which is theirs, or cut them off:\n"
        + manage("restore", job.backup.id, "--end-requests", alias=job.alias)
    )
