"""The only place that starts a program: argv list in, result or ProgramError out.

A child gets a small environment of its own (never SECRET_KEY or DATABASE_URL), a session of its
own, and dies with us: pg_dump must not run on when the command is killed (research: a killed
`manage.py` leaves pg_dump running, reparented to init).
"""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deploy_ops.errors import ProgramError
from deploy_ops.redact import redact

INHERITED = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


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
) -> Completed:
    """Run a program to its end; raises ProgramError with its last words if it fails.

    `on_line` sees each line of stderr as it comes (progress), and stderr is not kept then.
    """
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        child = _start(argv, env, cwd, stdout, subprocess.PIPE if on_line else stderr)
        with child:
            tail = _follow(child, on_line) if on_line else []
            child.wait()
        stderr_text = "".join(tail) if on_line else _read(stderr)
        if child.returncode:
            raise ProgramError(_failure(argv, child.returncode, stderr_text))
        return Completed(_read(stdout), stderr_text)


def _start(argv, env, cwd, stdout, stderr):  # type: ignore[no-untyped-def]
    clean = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        return subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn,consider-using-with
            argv,
            env={**clean, "LC_ALL": "C", **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="replace",
            start_new_session=True,
            umask=0o077,
            preexec_fn=_die_with_parent,  # one prctl call, made before any thread of ours exists
        )
    except OSError as error:
        raise ProgramError(f"{argv[0]} could not be started: {error.strerror}.") from error


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _follow(child: subprocess.Popen[str], on_line: Callable[[str], None]) -> list[str]:
    tail: list[str] = []
    assert child.stderr is not None
    try:
        for line in child.stderr:
            tail = [*tail[-19:], line]
            on_line(line.rstrip("\n"))
    except BaseException:
        child.kill()
        raise
    return tail


def _read(file) -> str:  # type: ignore[no-untyped-def]
    file.seek(0)
    return str(file.read())


def _failure(argv: Sequence[str], code: int, stderr: str) -> str:
    ended = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    last_words = redact(stderr.strip())[-2000:] or "It said nothing."
    return f"{redact(shlex.join(argv))}\n{ended}:\n{last_words}"
