"""A lock ends with its process, and so does what a directory's owner kept in it."""

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops import lock_file
from deploy_ops.errors import ConfigurationError
from deploy_ops.lock_file import Holder, LockFile, holder_of, scratch_directory, watch_holder

HOLD = """
import sys, time
from pathlib import Path
from deploy_ops.lock_file import scratch_directory
with scratch_directory(Path(sys.argv[1])) as directory:
    (directory / "pgpass").write_text("geheim")
    print(directory, flush=True)
    time.sleep(60)
"""


def test_who_holds_it_is_told(tmp_path):
    path = tmp_path / "x.lock"
    lock = LockFile(path, "backup")
    assert holder_of(path) is None
    assert lock.try_acquire() is None
    assert f"backup (process {os.getpid()} on" in LockFile(path, "restore").try_acquire()
    assert f"backup (process {os.getpid()} on" in holder_of(path)
    lock.release()
    lock.release()
    assert LockFile(path, "restore").try_acquire() is None


@pytest.mark.parametrize("shared", [True, False])
def test_who_holds_it_can_be_told_without_touching_the_lock(tmp_path, monkeypatch, shared):
    path = tmp_path / "x.lock"
    assert watch_holder(path) is None
    lock = LockFile(path, "backup", shared)
    lock.try_acquire()
    monkeypatch.setattr(lock_file.fcntl, "flock", None)
    found = watch_holder(path)
    assert (found.purpose, found.pid, found.host) == ("backup", os.getpid(), socket.gethostname())
    assert abs(datetime.now(UTC) - found.since) < timedelta(minutes=1)
    lock.release()
    assert watch_holder(path) is None


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"[1]", b'{"pid": "1", "since": 3}'])
def test_holder_that_says_nothing_of_itself_is_there_all_the_same(tmp_path, content):
    path = tmp_path / "x.lock"
    lock = LockFile(path, "backup")
    lock.try_acquire()
    path.write_bytes(content)
    assert watch_holder(path) == Holder("", 0, "", None)
    lock.release()


def test_where_the_system_does_not_tell_nobody_is_named(tmp_path, monkeypatch):
    path = tmp_path / "x.lock"
    lock = LockFile(path, "backup")
    lock.try_acquire()
    monkeypatch.setattr(lock_file, "LOCKS", tmp_path / "absent")
    assert watch_holder(path) is None
    lock.release()


def test_several_share_it(tmp_path):
    path = tmp_path / "x.lock"
    first, second = LockFile(path, "backup", shared=True), LockFile(path, "backup", shared=True)
    assert first.try_acquire() is None and second.try_acquire() is None
    assert LockFile(path, "restore").try_acquire() is not None


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"[1]", b'{"purpose": 3}', b'{"pid"'])
def test_content_that_cannot_be_read_matters_to_nobody(tmp_path, content):
    path = tmp_path / "x.lock"
    lock = LockFile(path, "backup")
    lock.try_acquire()
    path.write_bytes(content)
    assert holder_of(path) == "a process that has not said yet who it is"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/null", path)])
def test_what_is_no_file_is_set_aside(tmp_path, make):
    path = tmp_path / "x.lock"
    make(path)
    assert LockFile(path, "backup").try_acquire() is None
    assert len(list(tmp_path.glob("x.lock.damaged-*"))) == 1


def test_where_no_file_can_be_made_it_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match="lock file .* cannot be used: No such file"):
        LockFile(tmp_path / "missing" / "x.lock", "backup").try_acquire()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    parent = tmp_path / "passwords"
    argv = [sys.executable, "-c", HOLD, str(parent)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as killed:
        left = killed.stdout.readline().strip()
        with scratch_directory(parent):
            assert os.path.exists(f"{left}/pgpass")  # its process still lives
        killed.send_signal(signal.SIGKILL)
    assert os.path.exists(f"{left}/pgpass")
    with scratch_directory(parent) as mine:
        assert [path.name for path in parent.iterdir() if path.is_dir()] == [mine.name]
        assert mine.stat().st_mode & 0o777 == 0o700
    assert not mine.exists()
