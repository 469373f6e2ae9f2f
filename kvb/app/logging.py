"""Production logs to standard error; systemd or Docker keep, date and rotate it."""

TO_STANDARD_ERROR = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{levelname} {name} {message}", "style": "{"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # Django's default would mail the administrators as well, and no mail server is set up.
    "loggers": {"django": {"handlers": [], "level": "INFO"}},
}
