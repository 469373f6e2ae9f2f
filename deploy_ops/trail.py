"""What is done to the application, into its audit and to those who are told of it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from deploy_ops.audit import Event, Kind, Outcome, record_event
from deploy_ops.conf import conf
from deploy_ops.errors import DeployOpsError
from deploy_ops.notify import notify
from deploy_ops.places import state_directory
from deploy_ops.redact import error_text
from deploy_ops.version import code_version

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Ending:
    """How what is done inside `noted` ended, for whoever does not raise."""

    outcome: Outcome = Outcome.DONE
    message: str = ""


def note(event: Event) -> None:
    """Add the event and tell the receivers. What was done does not fail for it: that is logged."""
    try:
        record_event(state_directory(), event)
    except (OSError, DeployOpsError) as error:
        fact = error.fact if isinstance(error, DeployOpsError) else str(error)
        logger.warning("The audit lacks a %s: %s", event.kind, fact)
    tell_receivers(event)


def tell_receivers(event: Event) -> None:
    """Tell those whom DEPLOY_OPS_NOTIFY names; why that cannot be is logged.

    Nobody is woken by the flags that a smoke test switches for its own account.
    """
    if event.is_of_smoke_test:
        return
    try:
        if conf.notify and conf.notify_secret_file:
            notify(event, conf.notify, conf.notify_secret_file)
    except DeployOpsError as error:
        logger.warning("%s", error)


@contextmanager
def noted(kind: Kind, **details: Any) -> Iterator[Ending]:
    """Note that something begins, and how it ended: refused is what has changed nothing."""
    began, version, ending = time.monotonic(), code_version(), Ending()
    note(Event(kind, Outcome.STARTED, version, details=details))
    try:
        yield ending
    except BaseException as error:
        ending.outcome = _outcome(error)
        ending.message = error_text(error) or "Stopped by the operator."
        raise
    finally:
        seconds = round(time.monotonic() - began, 1)
        end = Event(kind, ending.outcome, version, seconds=seconds, message=ending.message)
        note(replace(end, details=details))


def _outcome(error: BaseException) -> Outcome:
    match error:
        case DeployOpsError(exit_code=1):
            return Outcome.REFUSED
    return Outcome.FAILED
