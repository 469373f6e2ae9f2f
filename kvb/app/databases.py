"""One `DATABASE_URL` becomes Django's DATABASES."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from kvb.app.environment import serves_http

ENGINES = ("django.db.backends.postgresql", "django.db.backends.sqlite3")
SECONDS_TO_KEEP_A_CONNECTION = 60
SECONDS_TO_CONNECT = 2


def databases_from_url(url: str) -> dict[str, dict[str, Any]]:
    """DATABASES for a postgresql:// or sqlite:// address; ImproperlyConfigured for any other."""
    config = _parse(url)
    if config["ENGINE"] == "django.db.backends.postgresql":
        # Health checks, since a restore ends all connections that are open.
        config |= {"CONN_MAX_AGE": SECONDS_TO_KEEP_A_CONNECTION, "CONN_HEALTH_CHECKS": True}
    else:
        # Taking the write lock at BEGIN waits for it; taking it later fails at once with "locked".
        # https://docs.djangoproject.com/en/5.2/ref/databases/#sqlite-transaction-behavior
        config["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
    return {"default": _as_served(config) if serves_http() else config}


def _as_served(config: dict[str, Any]) -> dict[str, Any]:
    """The same database for requests; commands may wait longer, and nobody scrapes them."""
    if config["ENGINE"] == "django.db.backends.postgresql":
        # psycopg's own 130 s would hold every thread, while a port swallows packets.
        options = {"connect_timeout": SECONDS_TO_CONNECT} | config.get("OPTIONS", {})
        config = config | {"OPTIONS": options}
    # The same backend, and it counts.
    return config | {"ENGINE": config["ENGINE"].replace("django.", "django_prometheus.", 1)}


def _parse(url: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = environ.Env.db_url_config(url)
    except (ValueError, ImproperlyConfigured):
        config = {}
    if config.get("ENGINE") not in ENGINES:
        # Neither the address nor the parser's error is shown: both may contain the password.
        raise ImproperlyConfigured(
            "DATABASE_URL is not the address of a PostgreSQL or SQLite database. Nothing was"
            " started. It reads postgresql://USER:PASSWORD@HOST:5432/NAME or sqlite:////FILE;"
            " special characters in the password are percent-encoded (@ is %40)."
        ) from None
    return config
