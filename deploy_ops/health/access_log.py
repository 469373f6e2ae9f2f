"""Keeps successful polls out of gunicorn's access log. Needs neither Django nor gunicorn."""

import logging

POLL_PATHS = frozenset(
    f"/health{part}{slash}" for part in ("", "/db", "/ready") for slash in ("", "/")
)


class SuccessfulPolls(logging.Filter):
    """For the logger `gunicorn.access`: drops polls that were answered well, keeps failing ones.

    gunicorn has no filter by path of its own and means logging's to be used
    (https://github.com/benoitc/gunicorn/issues/1781).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to keep the line; its arguments are gunicorn's atoms: U path, s status."""
        atoms = record.args
        if not isinstance(atoms, dict):
            return True
        return not (atoms.get("U") in POLL_PATHS and str(atoms.get("s")).startswith("2"))
