"""A disk that is full or read-only under DEPLOY_OPS_STATE_DIR: a sentence, never a traceback."""

import os
import subprocess

import pytest

COMMANDS = [
    ["backup"],
    ["backups", "list"],
    ["backups", "verify", "latest"],
    ["backups", "pin", "latest"],
    ["backups", "unpin", "latest"],
    ["backups", "prune", "--delete"],
    ["restore"],
    ["restore", "latest", "--noinput", "--confirm"],
    ["safe_migrate"],
]


@pytest.fixture
def own_disk(sqlite_project):
    """DEPLOY_OPS_STATE_DIR on a tmpfs of 8 MB, with one backup in it."""
    project = sqlite_project
    argv = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(project.ops_dir)]
    if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED WITH UNWRITABLE DISKS: mounting a tmpfs needs root")
    project.backups_dir.mkdir(mode=0o700)
    project.with_apps("good_expand")
    project.run("migrate", "good_expand", "0001", check=0)
    project.run("backup", check=0)
    yield project
    subprocess.run(["umount", str(project.ops_dir)], check=True)


def fill_up(project):
    with open(project.ops_dir / "filling", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


def make_read_only(project):
    subprocess.run(["mount", "-o", "remount,ro", str(project.ops_dir)], check=True)


@pytest.mark.parametrize("spoil", [fill_up, make_read_only])
@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_each_command(own_disk, spoil, argv):
    project = own_disk
    schema = project.database.schema()
    spoil(project)
    if argv[-1] == "--confirm":
        argv = [*argv, project.database.name]
    result = project.run(*argv, timeout=60)
    print(result)
    assert "Traceback" not in result.stderr, result
    if result.code:
        assert "Nothing was changed" in result.stderr or "not changed" in result.stderr, result
        reasons = ("No space left", "read-only file system", "MB free")
        assert any(reason in result.stderr for reason in reasons), result
    assert project.database.schema() == schema
