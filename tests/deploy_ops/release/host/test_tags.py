"""Which tags may be deployed."""

from dataclasses import replace

import pytest

from deploy_ops.errors import ReleaseRefused
from deploy_ops.release.host.tags import commit_of, parse


@pytest.mark.parametrize("name", ["v0.0.0", "v1.2.3", "v10.20.30"])
def test_versions(name):
    assert parse(name).name == name
    assert f"v{parse(name).version}" == name


@pytest.mark.parametrize(
    "name",
    ["1.2.3", "v1.2", "v1.2.3.4", "v01.2.3", "v1.2.3-rc1", "main", "", "v1.2.3\n", "-v1.2.3",
     "v1.2.3/../../etc", "--help", "v١.2.3", "v1.2.99999999"],
)  # fmt: skip
def test_anything_else_is_refused(name):
    with pytest.raises(ReleaseRefused, match="Nothing was changed"):
        parse(name)


def test_versions_are_ordered_as_numbers():
    names = ["v1.10.0", "v1.9.9", "v2.0.0", "v1.9.10"]
    ordered = [tag.name for tag in sorted(map(parse, names))]
    assert ordered == ["v1.9.9", "v1.9.10", "v1.10.0", "v2.0.0"]


def test_an_annotated_tag_on_main(host, git):
    git("tag", "-a", "v1.0.0", "-m", "one")
    assert commit_of(host, parse("v1.0.0")) == git("rev-parse", "HEAD")


def make_lightweight(git):
    git("tag", "v1.0.0")


def make_branch(git):
    git("branch", "v1.0.0")


def make_beside_main(git):
    git("checkout", "--quiet", "-b", "feature")
    git("commit", "--quiet", "--allow-empty", "-m", "second")
    git("tag", "-a", "v1.0.0", "-m", "one")
    git("checkout", "--quiet", "main")


def make_renamed(git):
    git("tag", "-a", "v9.9.9", "-m", "one")
    git("update-ref", "refs/tags/v1.0.0", git("rev-parse", "refs/tags/v9.9.9"))


def make_of_a_file(git):
    git("tag", "-a", "v1.0.0", "-m", "one", "HEAD:code.py")


REFUSED = {
    "no tag": (lambda git: None, "There is no tag v1.0.0"),
    "a lightweight one": (make_lightweight, "lightweight"),
    "a branch of that name": (make_branch, "There is no tag"),
    "not on main": (make_beside_main, "is not on refs/heads/main"),
    "made under another name": (make_renamed, "another name"),
    "of a file": (make_of_a_file, "not a tag of a commit"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(host, git, kind):
    make, said = REFUSED[kind]
    make(git)
    with pytest.raises(ReleaseRefused, match=said):
        commit_of(host, parse("v1.0.0"))


def test_a_signature_where_it_is_asked_for(host, git):
    git("tag", "-a", "v1.0.0", "-m", "not signed")
    with pytest.raises(ReleaseRefused, match="signature of v1.0.0"):
        commit_of(replace(host, verify_tags=True), parse("v1.0.0"))


def test_tags_are_fetched_and_a_moved_one_is_refused(host, git, remote):
    git("tag", "-a", "v1.0.0", "-m", "one", cwd=remote)
    assert commit_of(host, parse("v1.0.0")) == git("rev-parse", "HEAD")
    git("tag", "-a", "--force", "v1.0.0", "-m", "moved", cwd=remote)
    with pytest.raises(ReleaseRefused, match="somebody has moved it"):
        commit_of(host, parse("v1.0.0"))
