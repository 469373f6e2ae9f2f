"""Production logs: one JSON object per line, with the request's id, the version, and no secret.

To files where KVB_LOG_DIR is set: app.log has everything from INFO, error.log errors alone. Else to
standard output, where Docker and systemd collect it. Management commands always log to standard
error: their standard output is their result, and a file that root's command made would be closed to
the application.
"""

import json
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from kvb.app.request_id import request_id

# The owner writes, a group such as adm reads: lines can name people and what they did.
FILE_MODE = 0o640
_LOGGED_FOR = "_in_error_log_for"
# JSON leaves these as they are, and some readers take them for line breaks or terminal commands.
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


class JsonLines(logging.Formatter):
    """time, level, logger, message, version; request_id and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message has in it."""
        # Late: Django reads this module before its settings are complete.
        from deploy_ops.version import code_version  # pylint: disable=import-outside-toplevel
        from kvb.app.secrets import without_secrets  # pylint: disable=import-outside-toplevel

        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            "version": code_version(),
            "process": record.process,
        }
        if name := request_id.get():
            event["request_id"] = name
        if record.exc_info:
            event["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(event, ensure_ascii=False).translate(_ESCAPED)


class FirstMention(logging.Filter):
    """Keeps an exception out of a log that has it already, because an inner caller logged it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mark the exception with the request that it is logged for; whether it was not before.

        The request, since an exception object can be raised again, such as a MemoryError.
        """
        error = record.exc_info[1] if record.exc_info else None
        request = request_id.get()
        if error is None or request is None:
            return True
        if getattr(error, _LOGGED_FOR, None) == request:
            return False
        with suppress(AttributeError, TypeError):  # a frozen one: twice is better than never
            setattr(error, _LOGGED_FOR, request)
        return True


class LogFile(WatchedFileHandler):
    """Goes on in a new file after logrotate renamed the old one, without a signal or a restart."""

    def _open(self) -> TextIOWrapper:
        """Open it for its owner and group alone; logging's own would let everybody read."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = os.open(self.baseFilename, flags, FILE_MODE)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def to_stream(name: str) -> dict[str, Any]:
    """LOGGING to `stdout` or `stderr` of the process."""
    return _logging({name: {"class": "logging.StreamHandler", "stream": f"ext://sys.{name}"}})


def to_files(directory: Path) -> dict[str, Any]:
    """LOGGING to app.log and error.log in a directory."""
    kind = "kvb.app.logging.LogFile"
    return _logging(
        {
            "app": {"class": kind, "filename": directory / "app.log"},
            "error": {
                "class": kind,
                "filename": directory / "error.log",
                "level": "ERROR",
                "filters": ["first_mention"],
            },
        }
    )


def _logging(handlers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "kvb.app.logging.JsonLines"}},
        "filters": {"first_mention": {"()": "kvb.app.logging.FirstMention"}},
        "handlers": {name: {**options, "formatter": "json"} for name, options in handlers.items()},
        "root": {"handlers": list(handlers), "level": "INFO"},
        "loggers": {
            # Its default would mail the administrators as well, and no mail server is set up.
            "django": {"handlers": [], "level": "INFO"},
            # In the workers; what the master says of starting and stopping is not an event here.
            "gunicorn.access": {"handlers": [], "propagate": True},
            "gunicorn.error": {"handlers": [], "propagate": True},
        },
    }
