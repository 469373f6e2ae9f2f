"""Which tags may be deployed."""

from dataclasses import replace

import pytest

from deploy_ops.errors import ReleaseRefused
from deploy_ops.release.host.config import Target
from deploy_ops.release.host.tags import commit_of, head_of_main, parse


@pytest.mark.parametrize("name", ["v0.0.0", "v1.2.3", "v10.20.30"])
def test_versions(name):
    assert parse(name).name == name
    assert f"v{parse(name).version}" == name


@pytest.mark.parametrize(
    "name",
    ["1.2.3", "v1.2", "v1.2.3.4", "v01.2.3", "v1.2.3-rc1", "main", "", "v1.2.3\n", "-v1.2.3",
     "v1.2.3/../../etc", "--help", "v١.2.3", "v1.2.99999999", "v1.2.3-0-g0123456789ab",
     "v1.2.3-4-g0123", "v1.2.3-4-gmain"],
)  # fmt: skip
def test_anything_else_is_refused(name):
    with pytest.raises(ReleaseRefused, match="Nothing was changed"):
        parse(name)


def test_versions_are_ordered_as_numbers():
    head, later = "v1.9.9-9-g0123456789ab", "v1.9.9-10-g0123456789ab"
    names = ["v1.10.0", later, "v1.9.9", "v2.0.0", head, "v1.9.10"]
    ordered = [tag.name for tag in sorted(map(parse, names))]
    assert ordered == ["v1.9.9", head, later, "v1.9.10", "v1.10.0", "v2.0.0"]
    assert parse(head) != parse("v1.9.9-9-gfedcba987654")


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


@pytest.fixture
def staging(host):
    return replace(host, target=Target.STAGING)


def commit(git):
    git("commit", "--quiet", "--allow-empty", "-m", "more")
    return git("rev-parse", "HEAD")


def test_head_of_main_is_called_after_the_tag_before_it(staging, git):
    first = git("rev-parse", "HEAD")
    assert head_of_main(staging).name == f"v0.0.0-1-g{first[:12]}"
    git("tag", "-a", "v1.0.0", "-m", "one")
    assert head_of_main(staging) == parse("v1.0.0")
    second = commit(git)
    git("tag", "-a", "v1.1.0-rc1", "-m", "a candidate is no release")
    git("tag", "v1.1.0")
    head = head_of_main(staging)
    assert head.name == f"v1.0.0-1-g{second[:12]}" and head > parse("v1.0.0")
    assert commit_of(staging, head) == second


def test_production_takes_no_commit(host, git):
    head = head_of_main(host)
    with pytest.raises(ReleaseRefused, match="no tag, and this host is production"):
        commit_of(host, head)


@pytest.mark.parametrize(
    ("on", "said"), [("feature", "is not on refs/heads/main"), ("nowhere", "There is no commit")]
)
def test_staging_takes_no_other_commit(staging, git, on, said):
    git("checkout", "--quiet", "-b", "feature")
    there = commit(git) if on == "feature" else "0" * 40
    with pytest.raises(ReleaseRefused, match=said):
        commit_of(staging, parse(f"v0.0.0-2-g{there[:12]}"))


def test_main_has_to_be_there(staging, git):
    with pytest.raises(ReleaseRefused, match="no branch refs/heads/trunk"):
        head_of_main(replace(staging, main="refs/heads/trunk"))
