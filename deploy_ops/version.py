"""Which version of the deployed application this process runs."""

import os
from functools import cache
from importlib.metadata import packages_distributions, version

from django.conf import settings

from deploy_ops import process
from deploy_ops.errors import ProgramError

UNKNOWN = "unknown"


@cache
def code_version() -> str:
    """Return APP_VERSION, else the version installed, else `git describe`, else "unknown"."""
    return given_version() or _installed() or _described() or UNKNOWN


def given_version() -> str:
    """Return what APP_VERSION says, "" if nothing: it is known without asking anybody."""
    return os.environ.get("APP_VERSION", "").strip()


def given_commit() -> str | None:
    """Return what APP_COMMIT says, which an image has from its build; None if nothing."""
    return os.environ.get("APP_COMMIT", "").strip() or None


def _installed() -> str:
    """Version of the distribution that brought the package of the root URLconf."""
    package = str(getattr(settings, "ROOT_URLCONF", "")).partition(".")[0]
    distributions = package and packages_distributions().get(package)
    return version(distributions[0]) if distributions else ""


def _described() -> str:
    base = getattr(settings, "BASE_DIR", None)
    if base is None:
        return ""
    try:
        # The application often runs as another user than the one who owns its checkout; its code
        # is believed anyway.
        argv = ["git", "-c", f"safe.directory={base}", "describe", "--tags", "--always", "--dirty"]
        return process.run(argv, cwd=str(base)).stdout.strip()
    except (ProgramError, OSError):  # no git, no checkout, or none that could be one: in a zip
        return ""
