"""Which version of the deployed application this process runs."""

import os
import tomllib
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

from django.conf import settings

from deploy_ops import process
from deploy_ops.errors import ProgramError

UNKNOWN = "unknown"


@cache
def code_version() -> str:
    """Return APP_VERSION, else the version installed, described by git, or declared; or "unknown".

    A release that was copied without its .git has what its files declare.
    """
    return given_version() or _installed() or _described() or _declared() or UNKNOWN


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


def _declared() -> str:
    """The first line of VERSION in BASE_DIR, else the version of the project in pyproject.toml."""
    base = getattr(settings, "BASE_DIR", None)
    if base is None:
        return ""
    return _first_line(Path(base, "VERSION")) or _of_project(Path(base, "pyproject.toml"))


def _first_line(path: Path) -> str:
    try:
        return next(iter(path.read_text(encoding="utf-8").splitlines()), "").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _of_project(path: Path) -> str:
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ""
    return str(project.get("version", ""))
