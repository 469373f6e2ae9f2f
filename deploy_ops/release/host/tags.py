"""What may be deployed: annotated tags of a version on the main branch; on staging its head too.

The head has no tag of its own, and is called as `git describe` calls it: v1.2.3-14-g0123456789ab,
14 commits after v1.2.3.
"""

import re
from dataclasses import dataclass, field

from deploy_ops.errors import ProgramError, ReleaseRefused
from deploy_ops.process import run
from deploy_ops.release.host.config import Host, Target

_NUMBER = r"(0|[1-9][0-9]{0,5})"
FORM = re.compile(
    rf"v{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([1-9][0-9]{{0,7}})-g([0-9a-f]{{12,40}}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A version as it is tagged, or described; they are ordered as their versions are.

    `commits` come after the tag; of what is tagged itself there are none, and no `commit`.
    """

    number: tuple[int, int, int]
    commits: int
    name: str
    commit: str = field(compare=False)

    @property
    def version(self) -> str:
        """What the application says of itself: the tag without its v."""
        return self.name.removeprefix("v")


def parse(name: str) -> Tag:
    """Read vMAJOR.MINOR.PATCH; raises ReleaseRefused for anything else."""
    found = FORM.fullmatch(name)
    if found is None:
        raise ReleaseRefused(
            f"{name!r} is not a version such as v1.2.3. Nothing was changed. "
            "These are there:\n    git tag --list 'v*' --sort=-version:refname"
        )
    major, minor, patch = map(int, found.groups()[:3])
    return Tag((major, minor, patch), int(found[4] or 0), name, found[5] or "")


def head_of_main(host: Host) -> Tag:
    """The newest commit of the main branch, as it is fetched now; raises ReleaseRefused."""
    _fetch(host)
    described = _ask(host, "describe", "--match=v*.*.*", "--exclude=*-*", "--abbrev=12", host.main)
    if described is not None:
        return parse(described)
    commit = _ask(host, "rev-parse", "--short=12", "--verify", f"{host.main}^{{commit}}")
    if commit is None:
        raise ReleaseRefused(f"There is no branch {host.main}. Nothing was changed.")
    return parse(f"v0.0.0-{_ask(host, 'rev-list', '--count', host.main)}-g{commit}")


def commit_of(host: Host, tag: Tag) -> str:
    """The commit of the tag; raises ReleaseRefused unless all that is asked of it holds.

    It is fetched first: one that was moved since is refused by git itself.
    """
    _fetch(host)
    commit = _described_commit(host, tag) if tag.commit else _tagged_commit(host, tag)
    if _ask(host, "merge-base", "--is-ancestor", commit, host.main) is None:
        raise ReleaseRefused(
            f"{tag.name} (commit {commit[:12]}) is not on {host.main}, so nothing says that it was "
            "reviewed and tested. Nothing was changed. Merge it first."
        )
    return commit


def _described_commit(host: Host, tag: Tag) -> str:
    if host.target is not Target.STAGING:
        raise ReleaseRefused(
            f"{tag.name} is a commit and no tag, and this host is {host.target}. Nothing was "
            "changed. Tag what was tested on staging, with the next version:\n"
            f"    git tag -a v1.2.3 -m 'Release 1.2.3' {tag.commit} && git push origin v1.2.3"
        )
    commit = _ask(host, "rev-parse", "--verify", f"{tag.commit}^{{commit}}")
    if commit is None:
        raise ReleaseRefused(f"There is no commit {tag.commit}. Nothing was changed.")
    return commit


def _tagged_commit(host: Host, tag: Tag) -> str:
    ref = f"refs/tags/{tag.name}"
    kind = _ask(host, "cat-file", "-t", ref)
    if kind is None:
        raise ReleaseRefused(
            f"There is no tag {tag.name}. Nothing was changed. Make and push it:\n"
            f"    git tag -a {tag.name} -m 'Release {tag.version}' && git push origin {tag.name}"
        )
    if kind != "tag":
        major, minor, patch = tag.number
        raise ReleaseRefused(
            f"{tag.name} is a lightweight tag: it does not say who made it, and when. Nothing was "
            "changed. Make an annotated one of the next version:\n"
            f"    git tag -a v{major}.{minor}.{patch + 1} {tag.name}"
        )
    if _ask(host, "for-each-ref", "--format=%(tag)", ref) != tag.name:
        raise ReleaseRefused(
            f"{ref} holds a tag that was made under another name. Nothing was changed."
        )
    commit = _ask(host, "rev-parse", "--verify", f"{ref}^{{commit}}")
    if commit is None:
        raise ReleaseRefused(f"{tag.name} is not a tag of a commit. Nothing was changed.")
    if host.verify_tags and _ask(host, "verify-tag", tag.name) is None:
        raise ReleaseRefused(
            f"The signature of {tag.name} is not one that git accepts. Nothing was changed. See "
            f"why:\n    git -C {host.root} verify-tag {tag.name}"
        )
    return commit


def _fetch(host: Host) -> None:
    if not run(["git", "remote"], cwd=str(host.root)).stdout.split():
        return
    try:
        run(["git", "fetch", "--quiet", "--tags", "origin"], cwd=str(host.root))
    except ProgramError as error:
        raise ReleaseRefused(
            f"The tags could not be fetched. Nothing was changed. If git says that a tag would be "
            f"clobbered, somebody has moved it.\n{error}"
        ) from error


def _ask(host: Host, *arguments: str) -> str | None:
    try:
        return run(["git", *arguments], cwd=str(host.root)).stdout.strip()
    except ProgramError:
        return None
