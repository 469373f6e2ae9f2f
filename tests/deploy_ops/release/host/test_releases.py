"""Directories of releases: built once, never changed, removed when nobody needs them."""

import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deploy_ops.errors import ReleaseRefused
from deploy_ops.release.host.colours import Colour, place
from deploy_ops.release.host.releases import COMPLETE, build, find_release, prune, releases
from deploy_ops.release.host.tags import parse

TAG = parse("v1.0.0")


def test_a_release_is_built_from_its_commit(host, git):
    commit = git("rev-parse", "HEAD")
    (host.root / "code.py").write_text("VALUE = 2  # not committed\n")
    build(host, TAG, commit)
    directory = host.releases / "v1.0.0"
    assert (directory / "code.py").read_text() == "VALUE = 1\n"
    assert find_release(host, TAG).commit == commit
    environment = (directory / "release.env").read_text()
    assert environment == f"APP_VERSION=1.0.0\nSTATIC_ROOT={host.root}/static\n"
    printed = subprocess.run(
        [directory / ".venv/bin/python", "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() == str(directory / ".venv")
    assert (directory / "code.py").stat().st_mode & 0o044 == 0o044  # its user is another one
    assert not (directory / ".release.tar").exists()


def test_it_is_built_once_and_again_after_a_kill(host, git):
    commit = git("rev-parse", "HEAD")
    build(host, TAG, commit)
    made = (host.releases / "v1.0.0" / COMPLETE).stat().st_mtime_ns
    build(host, TAG, commit)
    assert (host.releases / "v1.0.0" / COMPLETE).stat().st_mtime_ns == made
    (host.releases / "v1.0.0" / COMPLETE).unlink()  # as a kill before the end leaves it
    (host.releases / "v1.0.0" / "half").write_text("")
    assert find_release(host, TAG) is None
    build(host, TAG, commit)
    assert find_release(host, TAG) is not None
    assert not (host.releases / "v1.0.0" / "half").exists()


def test_a_tag_that_moved_is_refused(host, git):
    build(host, TAG, git("rev-parse", "HEAD"))
    git("commit", "--quiet", "--allow-empty", "-m", "second")
    with pytest.raises(ReleaseRefused, match="somebody has moved it"):
        build(host, TAG, git("rev-parse", "HEAD"))


@pytest.mark.parametrize("line", ["django\n", "django==5.2.0\n"])
def test_requirements_without_hashes_are_refused(host, git, line, capfd):
    (host.root / "requirements.txt").write_text(line)
    git("commit", "--quiet", "-am", "requirements")
    with pytest.raises(ReleaseRefused, match="could not be built, and nothing else was begun"):
        build(host, TAG, git("rev-parse", "HEAD"))
    assert "hashes" in capfd.readouterr().err
    assert find_release(host, TAG) is None


def test_a_full_disk_is_seen_before(host, git):
    full = replace(host, free_bytes=10**18)
    with pytest.raises(ReleaseRefused, match="GB are free"):
        build(full, TAG, git("rev-parse", "HEAD"))
    assert not (host.releases / "v1.0.0").exists()


def test_a_disk_without_inodes_is_seen_before(host, git, monkeypatch):
    room = {"f_bavail": 10**9, "f_frsize": 4096, "f_files": 10**6, "f_favail": 9_999}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**room))
    with pytest.raises(ReleaseRefused, match="9999 inodes are free"):
        build(host, TAG, git("rev-parse", "HEAD"))
    assert not (host.releases / "v1.0.0").exists()


def test_old_releases_are_removed_and_those_of_a_colour_stay(host):
    for minor in range(8):
        directory = host.releases / f"v1.{minor}.0"
        directory.mkdir(parents=True)
        (directory / COMPLETE).write_text("{}")
    (host.releases / "notes").mkdir()
    place(host, Colour.BLUE, "v1.0.0")
    place(host, Colour.GREEN, "v1.1.0")
    assert prune(replace(host, keep=4)) == ["v1.5.0", "v1.4.0", "v1.3.0", "v1.2.0"]
    assert [tag.name for tag in releases(host)] == ["v1.7.0", "v1.6.0", "v1.1.0", "v1.0.0"]
    assert (host.releases / "notes").exists()
    assert os.readlink(host.colours / "blue") == "../releases/v1.0.0"
