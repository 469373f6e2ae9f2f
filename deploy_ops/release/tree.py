"""Which commit and tag the code that runs was made from, and whether its files are still those."""

import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.checks import ERROR, INFO, WARNING, CheckMessage

from deploy_ops.errors import ProgramError
from deploy_ops.process import run
from deploy_ops.release.host.releases import read_release
from deploy_ops.version import code_version

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Tree:
    """`changed` are files that differ from those of the commit, None where that cannot be seen."""

    commit: str
    tag: str | None
    changed: Sequence[str] | None


def look_at_tree() -> Tree | None:
    """Look at BASE_DIR: a release that deploy.sh has built, or a checkout; None if it is neither.

    A release lies below the clone that it was built from, and lets itself be compared with that.
    """
    if (base_dir := getattr(settings, "BASE_DIR", None)) is None:
        return None
    base = Path(base_dir).absolute()
    if release := read_release(base):
        return Tree(release.commit, release.tag, _changed(base, base.parents[1], release.commit))
    if not (base / ".git").exists():
        return None
    commit = _ask(base, "rev-parse", "HEAD")
    if commit is None:
        return None
    # Without --tags: only annotated ones are released.
    tag = _ask(base, "describe", "--exact-match", "HEAD")
    return Tree(commit, tag, _changed(base, base, commit))


def tree_findings(tree: Tree | None) -> Iterator[CheckMessage]:
    """Say where the code is not that of the tag which is to be released (R015)."""
    if tree is None:
        yield _finding(
            INFO,
            "Which commit this code is of is not known: BASE_DIR is neither a release that "
            "deploy.sh has built nor a checkout.",
            "Deploy from a tag, or compare by hand what was built with what was tested.",
        )
        return
    yield from _tag(tree)
    yield from _files(tree)


def _tag(tree: Tree) -> Iterator[CheckMessage]:
    if tree.tag is None:
        yield _finding(
            WARNING,
            f"Commit {tree.commit[:12]} has no annotated tag, so it is not marked as a release.",
            "Tag it:\n    git tag -a v1.2.3",
        )
    elif tree.tag.removeprefix("v") != code_version().removeprefix("v"):
        yield _finding(
            ERROR,
            f"The tag of this code is {tree.tag}, and it calls itself {code_version()}.",
            "Set APP_VERSION to the version of the tag.",
        )


def _files(tree: Tree) -> Iterator[CheckMessage]:
    commit = tree.commit[:12]
    if tree.changed is None:
        yield _finding(
            INFO,
            f"Whether the files here are those of commit {commit} is not known: its repository "
            "cannot be read from here.",
            "Let the user that runs this read the clone with its .git directory.",
        )
    elif tree.changed:
        more = f" and {len(tree.changed) - SHOWN} more" if len(tree.changed) > SHOWN else ""
        yield _finding(
            ERROR,
            f"Files differ from those of commit {commit}: {', '.join(tree.changed[:SHOWN])}{more}. "
            "What was tested is not what runs.",
            "Commit and tag the change, or undo it:\n    git status",
        )


def _finding(level: int, message: str, hint: str) -> CheckMessage:
    return CheckMessage(level, message, hint=hint, id="deploy_ops.R015")


def _changed(base: Path, repository: Path, commit: str) -> Sequence[str] | None:
    """Compare with the archive of the commit, which is what a release is unpacked from."""
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "commit.tar"
        if _ask(repository, "archive", "--format=tar", f"--output={archive}", commit) is None:
            return None
        with tarfile.open(archive) as tar:
            files = [member for member in tar if member.isfile()]
            return [each.name for each in files if not _is_same(base / each.name, tar, each)]


def _is_same(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    recorded = tar.extractfile(member)
    assert recorded is not None
    try:
        return path.read_bytes() == recorded.read()
    except OSError:
        return False


def _ask(repository: Path, *arguments: str) -> str | None:
    try:
        # The clone often belongs to another user than the one who runs this; it is believed anyway.
        argv = ["git", "-c", f"safe.directory={repository}", *arguments]
        return run(argv, cwd=str(repository)).stdout.strip()
    except (ProgramError, OSError):
        return None
