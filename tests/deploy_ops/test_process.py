"""Programs: what they are given, what they say when they fail, and that none outlives us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy_ops.errors import ProgramError
from deploy_ops.process import run


def test_what_a_program_prints_comes_back():
    done = run(["sh", "-c", "echo out; echo err >&2"])

    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_lines_of_stderr_are_heard_while_the_program_runs():
    heard = []

    run(["sh", "-c", "echo one >&2; echo two >&2; echo out"], on_line=heard.append)

    assert heard == ["one", "two"]


def test_failure_names_the_program_its_exit_code_and_its_last_words():
    with pytest.raises(ProgramError) as failure:
        run(["sh", "-c", "echo no such table >&2; exit 3"])

    assert "failed with exit code 3:\nno such table" in str(failure.value)
    assert str(failure.value).startswith("sh -c")


def test_failure_after_heard_lines_keeps_the_last_ones():
    with pytest.raises(ProgramError, match="line 40") as failure:
        run(["sh", "-c", "for i in $(seq 40); do echo line $i >&2; done; exit 1"], on_line=len)

    assert "line 20\n" not in str(failure.value)


def test_a_signal_is_told():
    with pytest.raises(ProgramError, match="was killed by signal 9"):
        run(["sh", "-c", "kill -9 $$"])


def test_a_missing_program_is_told():
    with pytest.raises(ProgramError, match="no-such-program could not be started"):
        run(["no-such-program"])


def test_passwords_in_foreign_words_are_hidden():
    with pytest.raises(ProgramError) as failure:
        run(["sh", "-c", "echo postgresql://anna:geheim@host/db password=geheim >&2; exit 1"])

    assert "geheim" not in str(failure.value)


def test_a_child_sees_neither_our_secrets_nor_our_terminal(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "geheim")
    monkeypatch.setenv("DATABASE_URL", "geheim")

    done = run(["sh", "-c", "env; umask; ps -o sid= -p $$; cat"], env={"PGHOST": "/tmp"})

    assert "geheim" not in done.stdout
    assert "PGHOST=/tmp" in done.stdout and "LC_ALL=C\n" in done.stdout
    assert "\n0077\n" in done.stdout
    assert done.stdout.split()[-1] != str(os.getsid(0))


def test_an_error_while_listening_ends_the_program(tmp_path):
    def refuse(line):
        raise ValueError(line)

    with pytest.raises(ValueError):
        run(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo x >&2; exec sleep 60"], on_line=refuse)

    assert not _lives(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("on_line", ["None", "print"])
def test_ctrl_c_ends_the_program(tmp_path, on_line):
    parent = _start_parent(tmp_path, on_line)

    parent.send_signal(signal.SIGINT)
    parent.wait(20)

    assert not _lives(_child(tmp_path))


def test_kill_9_of_the_command_ends_the_program(tmp_path):
    parent = _start_parent(tmp_path, "None")

    parent.kill()
    parent.wait(20)

    deadline = time.monotonic() + 10
    while _lives(_child(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(_child(tmp_path))


def _start_parent(directory: Path, on_line: str) -> subprocess.Popen:
    script = f"echo $$ > {directory}/partial; mv {directory}/partial {directory}/pid; exec sleep 60"
    code = f"from deploy_ops.process import run; run(['sh', '-c', '{script}'], on_line={on_line})"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (directory / "pid").exists():
        assert time.monotonic() < deadline, "the child never started"
        time.sleep(0.02)
    return parent


def _child(directory: Path) -> int:
    return int((directory / "pid").read_text())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
