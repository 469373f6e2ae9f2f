"""What needs a person by e-mail, sent as the project sends its own (EMAIL_BACKEND, MAILERS)."""

import json
import socket
from collections.abc import Iterable
from functools import partial
from smtplib import SMTPRecipientsRefused, SMTPResponseException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import DEFAULT_DB_ALIAS, connections

from deploy_ops.advice import manage
from deploy_ops.audit import Event
from deploy_ops.deliver import NotDelivered, deliver
from deploy_ops.redact import redact


def mail(event: Event, addresses: Iterable[str]) -> None:
    """Write to everybody if the event needs a person, and wait for nobody."""
    if not event.outcome.needs_a_person:
        return
    for address in addresses:
        deliver(address, partial(_send, compose(event, address)))


def compose(event: Event, address: str) -> EmailMessage:
    """The message: what happened where in the subject; when, by whom and why below."""
    host = socket.gethostname()
    subject = f"[{host}] {event.kind} {event.outcome} ({event.version or 'unknown version'})"
    facts = {
        "what": f"{event.kind} {event.outcome}",
        "version": event.version or "unknown",
        "host": host,
        "at": event.at,
        "by": event.by,
        **({} if event.seconds is None else {"seconds": event.seconds}),
        **{name: _plain(value) for name, value in event.details.items() if value},
    }
    lines = [f"{name}: {value}" for name, value in facts.items()]
    body = "\n".join([*lines, "", redact(event.message) or "No reason was given."])
    return EmailMessage(" ".join(subject.split()), body, settings.SERVER_EMAIL, [address])


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _send(message: EmailMessage) -> None:
    """Send it; raises NotDelivered without the server's words, which may repeat a password."""
    try:
        message.send()
    except SMTPResponseException as error:
        raise NotDelivered(f"{type(error).__name__} {error.smtp_code}. {_cure(message)}") from None
    except SMTPRecipientsRefused as error:
        codes = ", ".join(str(code) for code, _ in error.recipients.values())
        raise NotDelivered(f"{type(error).__name__} {codes}. {_cure(message)}") from None
    except OSError as error:
        raise NotDelivered(f"{error}. {_cure(message)}") from None
    except Exception as error:  # pylint: disable=broad-exception-caught  # of any backend
        raise NotDelivered(f"{type(error).__name__}. {_cure(message)}") from None
    finally:
        connections.close_all()  # this thread's, of a backend that keeps its mail in a table


def _cure(message: EmailMessage) -> str:
    again = manage("sendtestemail", message.to[0], alias=DEFAULT_DB_ALIAS)
    return f"This tries whether mail can be sent:\n{again}"
