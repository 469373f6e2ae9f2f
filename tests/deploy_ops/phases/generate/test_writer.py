"""Files are whole whenever the process ends."""

import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from deploy_ops.errors import MigrationError
from deploy_ops.phases.generate import write_whole

OLD, NEW = "OLD = 1\n" * 2000, "NEW = 2\n" * 3000


def in_a_child(act) -> int:
    """The status of a process that does it; it leaves nothing of pytest behind."""
    pid = os.fork()
    if not pid:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_killed_between_two_files(tmp_path, monkeypatch, moved):
    paths = [tmp_path / f"000{number}_x.py" for number in range(3)]
    for path in paths:
        path.write_text(OLD)
    replace, seen = Path.replace, []

    def kill_in_between(partial, path):
        if len(seen) == moved:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(path)
        return replace(partial, path)

    monkeypatch.setattr(Path, "replace", kill_in_between)
    texts = dict.fromkeys(paths, NEW)
    assert in_a_child(lambda: write_whole(texts, sys.stderr)) == signal.SIGKILL
    assert [path.read_text() for path in paths] == [NEW] * moved + [OLD] * (3 - moved)
    assert not [path for path in tmp_path.glob("*.py") if path not in paths]


def test_a_full_disk_changes_nothing(tmp_path):
    path, other = tmp_path / "0001_x.py", tmp_path / "0002_x.py"
    path.write_text(OLD)

    def write():
        limit = len(OLD)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            write_whole({other: "A = 1\n", path: NEW}, sys.stderr)
        except MigrationError as error:
            os._exit(7 if "could not be written" in str(error) else 1)

    assert os.waitstatus_to_exitcode(in_a_child(write)) == 7
    assert path.read_text() == OLD and os.listdir(tmp_path) == [path.name]
