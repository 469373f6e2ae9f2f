"""The oldest versions that deploy_ops works with, and how older ones are refused.

The package asks this first, so it has to be understood by a Python that is too old. What pip reads
is pyproject.toml; this is for a copy beside the project, and for a Django that was replaced later.
"""

import os
import sys
from typing import Tuple

Version = Tuple[int, ...]

PYTHON = (3, 11)
DJANGO = (5, 2)
PSYCOPG = (3, 2)
POSTGRESQL = 15
COMMANDS = ("manage.py", "django-admin", "__main__.py")


def require_python() -> None:
    """Refuse a Python that is older than PYTHON; raises as `require_django` does."""
    if sys.version_info < PYTHON:
        cure = "Recreate the virtualenv with a newer one."
        _refuse(f'{too_old("Python", PYTHON, sys.version_info[:3])} {cure}')


def require_django(found: Version) -> None:
    """Refuse a Django that is older than DJANGO.

    Raises SystemExit with the sentence alone in a command, and ImportError elsewhere: a server ends
    at that, and would start its workers again and again at a SystemExit.
    """
    if found < DJANGO:
        _refuse(too_old("Django", DJANGO, found) + installing("Django", DJANGO))


def too_old(what: str, oldest: Version, found: Version) -> str:
    """Say what is needed and what is here."""
    return (
        f"deploy_ops needs {what} {_dotted(oldest)} or newer, and this is {what} {_dotted(found)}. "
        "Nothing was changed."
    )


def installing(package: str, oldest: Version) -> str:
    """Say how to get a package that is new enough."""
    return f" Install it:\n    pip install '{package}>={_dotted(oldest)}'"


def _refuse(sentence: str) -> None:
    if os.path.basename(sys.argv[0]) in COMMANDS:
        raise SystemExit(sentence)
    raise ImportError(sentence)


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)
