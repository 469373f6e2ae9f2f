"""Whether the code is that of its tag: in a checkout, and in a release below its clone."""

import json
import subprocess

import pytest
from django.core.checks import ERROR, INFO, WARNING

from deploy_ops.release import tree
from deploy_ops.release.tree import look_at_tree, tree_findings


def git(directory, *arguments):
    who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org"]
    argv = ["git", *who, *arguments]
    done = subprocess.run(argv, cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path, settings, monkeypatch):
    """A checkout of v1.2.3, in which this code says that it runs."""
    directory = tmp_path / "clone"
    directory.mkdir()
    git(directory, "init", "--quiet")
    (directory / "code.py").write_text("print(1)\n")
    (directory / "sub").mkdir()
    (directory / "sub" / "more.py").write_bytes(b"\xff\x00")
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "-m", "One")
    git(directory, "tag", "-a", "v1.2.3", "-m", "Release")
    settings.BASE_DIR = directory
    monkeypatch.setattr(tree, "code_version", lambda: "1.2.3")
    return directory


@pytest.fixture
def release(clone, settings):
    """The same as deploy.sh unpacks it."""
    directory = clone / "releases" / "v1.2.3"
    (directory / "sub").mkdir(parents=True)
    for name in ("code.py", "sub/more.py"):
        (directory / name).write_bytes((clone / name).read_bytes())
    content = {"tag": "v1.2.3", "commit": git(clone, "rev-parse", "HEAD")}
    (directory / "release.json").write_text(json.dumps(content))
    settings.BASE_DIR = directory
    return directory


def told():
    return [(each.level, each.msg) for each in tree_findings(look_at_tree())]


def test_a_checkout_of_the_tag(clone):
    (clone / "untracked").touch()
    assert told() == []
    assert look_at_tree().commit == git(clone, "rev-parse", "HEAD")


def test_a_checkout_with_a_change(clone):
    (clone / "code.py").write_text("print(2)\n")
    (clone / "sub" / "more.py").unlink()
    [(level, message)] = told()
    assert level == ERROR
    assert "code.py, sub/more.py. What was tested is not what runs" in message


def test_a_checkout_of_no_tag(clone):
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "Two")
    git(clone, "tag", "v1.2.4")  # a lightweight one, which nobody has signed with a name
    [(level, message)] = told()
    assert level == WARNING
    assert "has no annotated tag" in message


def test_code_that_calls_itself_otherwise(clone, monkeypatch):
    monkeypatch.setattr(tree, "code_version", lambda: "v1.2.4")
    assert told() == [(ERROR, "The tag of this code is v1.2.3, and it calls itself v1.2.4.")]


def test_a_release(release):
    assert told() == []
    (release / "sub" / "more.py").write_bytes(b"\xff\x01")
    [(level, message)] = told()
    assert level == ERROR
    assert "sub/more.py" in message


def test_a_release_whose_clone_cannot_be_read(clone, release):
    (clone / ".git").rename(clone / "moved")
    [(level, message)] = told()
    assert level == INFO
    assert "cannot be read from here" in message


@pytest.mark.parametrize("where", ["no setting", "no checkout"])
def test_what_is_neither(tmp_path, settings, where):
    settings.BASE_DIR = None if where == "no setting" else tmp_path
    [(level, message)] = told()
    assert level == INFO
    assert "Which commit this code is of is not known" in message
