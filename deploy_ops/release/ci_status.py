"""What CI says of the commit that is to be released: a small JSON file that a pipeline writes.

{"commit": "<40 hex digits>", "tests": "passed", "review": "approved"}
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution

from deploy_ops.advice import manage
from deploy_ops.files import read_named, read_object

# What each has to be.
WANTED = {"tests": "passed", "review": "approved"}


@dataclass(frozen=True, slots=True)
class CiStatus:
    """`answers` to what WANTED asks, as far as CI gives them; `problem` says why there are none."""

    answers: dict[str, str]
    problem: str = ""

    @property
    def shown(self) -> Collection[str]:
        """What nobody has to confirm, since CI has seen it."""
        return [name for name, wanted in WANTED.items() if self.answers.get(name) == wanted]


def read_ci_status(path: Path, commit: str | None) -> CiStatus:
    """Read the file; it only counts for the commit that it names."""
    try:
        content = read_object(read_named(path))
    except OSError as error:
        return CiStatus({}, f"{path} cannot be read: {error.strerror}")
    if content is None:
        return CiStatus({}, f"{path} is not a JSON object")
    if commit is None:
        return CiStatus({}, f"{path} cannot be compared: which commit this code is of is not known")
    if content.get("commit") != commit:
        about = str(content.get("commit"))[:12]
        return CiStatus({}, f"{path} is about commit {about}, and this code is {commit[:12]}")
    return CiStatus({name: str(content[name]) for name in WANTED if name in content})


def ci_findings(status: CiStatus, confirmed: Collection[str], alias: str) -> Iterator[CheckMessage]:
    """Say what CI has against the release (R016).

    A person may confirm what CI does not tell, and not what it has seen to be otherwise.
    """
    if status.problem and not set(WANTED) <= set(confirmed):
        yield Caution(
            f"What CI says of this release is not known: {status.problem}.",
            hint="Let the pipeline of this commit write it, or see for yourself and say so:\n"
            f"{manage('predeploy', '--confirm', ','.join(WANTED), alias=alias)}",
            id="deploy_ops.R016",
        )
    for name, answer in status.answers.items():
        if answer != WANTED[name]:
            yield Error(
                f"CI says of this commit: {name} {answer}, and it has to be {WANTED[name]}.",
                hint="See its run, and deploy a commit that has passed.",
                id="deploy_ops.R016",
            )
