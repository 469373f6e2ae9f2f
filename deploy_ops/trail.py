"""What is done to the application, into its audit and to those who are told of it."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from deploy_ops.audit import Event, Kind, Outcome, record_event
from deploy_ops.conf import conf
from deploy_ops.errors import DeployOpsError, UsageError
from deploy_ops.notify import notify
from deploy_ops.places import state_directory
from deploy_ops.redact import error_text
from deploy_ops.version import code_version
from deploy_ops.webhooks import MAIL, is_mail

SAFETY = frozenset({Kind.BACKUP, Kind.VERIFICATION})
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
        write_mail(event)
        if webhooks := [each for each in conf.notify if not is_mail(each)]:
            assert conf.notify_secret_file is not None  # conf.notify refuses webhooks without one
            notify(event, webhooks, conf.notify_secret_file)
    except DeployOpsError as error:
        logger.warning("%s", error)


def write_mail(event: Event) -> None:
    """The same for its addresses alone; raises ConfigurationError for a setting that is invalid."""
    if addresses := [each.removeprefix(MAIL) for each in conf.notify if is_mail(each)]:
        # Imported here: it takes email and smtplib, and few processes write any.
        from deploy_ops.mail import mail

        mail(event, addresses)


@contextmanager
def noted(kind: Kind, **details: Any) -> Iterator[Ending]:
    """Note that something begins, and how it ended: refused is what has changed nothing."""
    note(Event(kind, Outcome.STARTED, code_version(), details=details))
    with _ended(kind, details, note) as ending:
        yield ending


@contextmanager
def watched(kind: Kind, **details: Any) -> Iterator[Ending]:
    """Tell the receivers if somebody should look at how it ended; its own record has the rest."""
    with _ended(kind, details, _tell_if_needed) as ending:
        yield ending


@contextmanager
def _ended(kind: Kind, details: Any, tell: Callable[[Event], None]) -> Iterator[Ending]:
    began, version, ending = time.monotonic(), code_version(), Ending()
    try:
        yield ending
    except BaseException as error:
        ending.outcome = _outcome(kind, error)
        ending.message = error_text(error) or "Stopped by the operator."
        raise
    finally:
        seconds = round(time.monotonic() - began, 1)
        end = Event(kind, ending.outcome, version, seconds=seconds, message=ending.message)
        tell(replace(end, details=details))


def _tell_if_needed(event: Event) -> None:
    if event.outcome.needs_a_person:
        tell_receivers(event)


def _outcome(kind: Kind, error: BaseException) -> Outcome:
    """A backup that is not there has failed, though the database is what it was."""
    if isinstance(error, UsageError):
        return Outcome.REFUSED
    has_changed_nothing = isinstance(error, DeployOpsError) and error.exit_code == 1
    return Outcome.REFUSED if has_changed_nothing and kind not in SAFETY else Outcome.FAILED
