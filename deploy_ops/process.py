"""The only place that starts a program: argv list in, result or ProgramError out.

A child gets a small environment of its own (never SECRET_KEY or DATABASE_URL), a session of its
own, and is told to stop when we die: a killed command would otherwise leave pg_dump running,
reparented to init.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy_ops.errors import ProgramError
from deploy_ops.progress import listener
from deploy_ops.redact import redact, server_text

INHERITED = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
LAST_LINES = 20
ERRORS = "backslashreplace"  # bytes that are no UTF-8 can be printed, and differ as they did
STOP_SECONDS = 10

# Becomes the program after asking the kernel for SIGTERM at the parent's death (prctl 1, 15).
# SIGTERM and not SIGKILL: pg_dump and pg_restore then cancel their queries and end their own
# workers, which would outlive a killed leader. A launcher and not preexec_fn: that runs Python
# between fork and exec, which may hang where other threads run (a terminal's progress bar).
_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:  # a script without #!
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program printed."""

    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    on_line: Callable[[str], None] | None = None,
    umask: int = 0o077,
) -> Completed:
    """Run a program to its end; raises ProgramError with its last words if it fails.

    `on_line` sees each line of stderr as it comes (progress); only the last lines are kept then.
    Whatever ends the wait early (Ctrl-C, an error in `on_line`) ends the program first.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors=ERRORS) as stdout:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors=ERRORS) as stderr:
            child = _start(argv, env, cwd, stdout, subprocess.PIPE if on_line else stderr, umask)
            with child:
                try:
                    tail = _follow(child, on_line) if on_line else ""
                    child.wait()
                except BaseException:
                    _stop(child)
                    raise
            last_words = tail if on_line else _read(stderr)
        if child.returncode:
            failure = _failure(argv, child.returncode, last_words)
            raise ProgramError(failure, child.returncode)
        _tell_details(argv, time.monotonic() - started, last_words)
        return Completed(_read(stdout), last_words)


def call(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    umask: int = 0o077,
) -> None:
    """Run a program that speaks to the operator itself; raises ProgramError if it fails.

    Whatever ends the wait early asks the program to end, and waits until it has: it may have
    something to put in order.
    """
    with _start(argv, env, cwd, None, None, umask) as child:
        try:
            child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if child.returncode:
        raise ProgramError(
            f"{redact(shlex.join(argv))} {_ended(child.returncode)}.", child.returncode
        )


@contextmanager
def serving(
    argv: Sequence[str], *, log: Path, stop: int, cwd: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Let a server run for the block, with what it prints in a file; `stop` is its signal to end.

    Its end is waited for; what does not end in time is killed.
    """
    with log.open("a", encoding="utf-8") as output:
        with _start(argv, None, cwd, output, output, 0o077) as child:
            try:
                yield child
            finally:
                child.send_signal(stop)
                _wait_or_kill(child)


def _tell_details(argv: Sequence[str], seconds: float, stderr: str) -> None:
    listener().detail(f"{redact(shlex.join(argv))}: {seconds:.2f} s", 2)
    if last_words := server_text(stderr.strip()):
        listener().detail(last_words, 3)


def _start(  # pylint: disable=too-many-arguments,too-many-positional-arguments
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | None,
    stdout: IO[str] | None,
    stderr: IO[str] | int | None,
    umask: int,
) -> subprocess.Popen[str]:
    clean = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return subprocess.Popen(  # pylint: disable=consider-using-with
        [*_launcher(), _program(argv[0]), *argv[1:]],
        env={**clean, "LC_ALL": "C", **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors=ERRORS,
        start_new_session=True,
        umask=umask,
    )


def _launcher() -> list[str]:
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ProgramError(f"{name} could not be started: there is no such program.")
    return path


def _follow(child: subprocess.Popen[str], on_line: Callable[[str], None]) -> str:
    tail: deque[str] = deque(maxlen=LAST_LINES)
    assert child.stderr is not None
    for line in child.stderr:
        tail.append(line)
        on_line(line.rstrip("\n"))
    return "".join(tail)


def _stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    _wait_or_kill(child)


def _wait_or_kill(child: subprocess.Popen[str]) -> None:
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _failure(argv: Sequence[str], code: int, stderr: str) -> str:
    last_words = server_text(stderr.strip())[-2000:] or "(no error output)"
    return f"{redact(shlex.join(argv))}\n{_ended(code)}:\n{last_words}"


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
