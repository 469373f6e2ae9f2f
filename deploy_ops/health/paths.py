"""Where the polls are. Needs neither Django nor gunicorn, since both sides ask."""

POLL_PATHS = frozenset(
    f"/health{part}{slash}" for part in ("", "/db", "/ready") for slash in ("", "/")
)
