"""How a process names its release in `application_name`, and how that is read again (pure).

PostgreSQL keeps 63 bytes of printable ASCII of a name. The release stands at the end, and is never
cut off: what has to give way is the name before it.
"""

import hashlib
import re
import sys
from pathlib import Path

from deploy_ops.version import UNKNOWN

LIMIT_BYTES = 63
MARK = "release="
LONGEST_RELEASE = 40
_PRINTABLE = re.compile(r"[^!-~]")
_MARKED = re.compile(rf"(?:^| ){MARK}(\S+)$")
# Django's own ways to call a command; `python -m django` runs a file of the package.
_RUNNERS = frozenset({"manage.py", "django-admin", "django"})


def session_name(given: str, release: str) -> str:
    """The name of a session: what the project called it, else the program, and the release."""
    before = _MARKED.sub("", given) or program_name()
    mark = f" {MARK}{release_tag(release)}"
    return before.encode("ascii", "replace").decode()[: LIMIT_BYTES - len(mark)] + mark


def release_in(name: str) -> str | None:
    """The tag of the release that a session names; None if it names none, or one unknown to it."""
    found = _MARKED.search(name)
    return None if found is None or found[1] == UNKNOWN else found[1]


def release_tag(release: str) -> str:
    """The release as a session can name it: the same for the same release, and for no other."""
    printable = _PRINTABLE.sub("_", release)
    if printable == release and len(release) <= LONGEST_RELEASE:
        return release
    digest = hashlib.sha256(release.encode()).hexdigest()[:8]
    return f"{printable[: LONGEST_RELEASE - 9]}-{digest}"


def program_name() -> str:
    """What this process runs: `gunicorn`, `celery`, `manage.py send_reminders`."""
    path = Path(sys.argv[0] or "python")
    name = path.parent.name if path.name == "__main__.py" else path.name
    if name in _RUNNERS and len(sys.argv) > 1:
        return f"{name} {sys.argv[1]}"
    return "python" if name == "-c" else name
