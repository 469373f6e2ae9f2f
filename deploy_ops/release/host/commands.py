"""Commands and hooks of a release, with the variables that its units have, as its user."""

import os
from pathlib import Path

from deploy_ops.errors import ProgramError, ReleaseFailed
from deploy_ops.process import call
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.environment import read_environment
from deploy_ops.release.host.releases import ENVIRONMENT, directory_of
from deploy_ops.release.host.tags import Tag

HOOKS = Path("deploy") / "hooks"
# Who is behind it, for the audit; what git, the shell and the service manager set is not passed on.
PASSED_ON = ("DEPLOY_BY", "SUDO_USER")


def manage(host: Host, tag: Tag, *arguments: str, seconds: int | None = None) -> None:
    """Run a management command of a release, which speaks for itself; raises ProgramError.

    With `seconds` one that takes longer is ended.
    """
    limit = [] if seconds is None else ["timeout", f"{seconds}"]
    call(
        [*limit, *_argv(host, tag, arguments)],
        cwd=str(directory_of(host, tag)),
        env=_environment(host, tag),
    )


def run_hook(host: Host, name: str, tag: Tag, before: Tag | None) -> bool:
    """Run `deploy/hooks/<name>` of the release, if it has one; raises ReleaseFailed if it fails."""
    path = directory_of(host, tag) / HOOKS / name
    if not os.path.lexists(path):  # a link that leads nowhere is one that is missed
        return False
    if not os.access(path, os.X_OK):
        raise ReleaseFailed(f"The hook {HOOKS / name} of {tag.name} is not executable.")
    told = {"DEPLOY_TAG": tag.name, "DEPLOY_FROM": before.name if before else ""}
    try:
        call(
            [*_as_user(host), str(path)],
            cwd=str(directory_of(host, tag)),
            env=_environment(host, tag) | told,
        )
    except ProgramError as error:
        raise ReleaseFailed(
            f"The hook {name} of {tag.name} ends the deployment: {error}"
        ) from error
    return True


def _argv(host: Host, tag: Tag, arguments: "tuple[str, ...] | list[str]") -> list[str]:
    python = directory_of(host, tag) / ".venv" / "bin" / "python"
    return [*_as_user(host), str(python), "manage.py", *arguments]


def _as_user(host: Host) -> list[str]:
    """As root nothing of a release is run: what it can do to the host is what its user can."""
    return ["runuser", f"--user={host.user}", "--"] if host.user and os.geteuid() == 0 else []


def _environment(host: Host, tag: Tag) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    files = [*host.environment, directory_of(host, tag) / ENVIRONMENT]
    return passed_on | read_environment(files)
