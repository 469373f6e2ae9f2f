"""Become a program under the filter of system calls that a unit asks systemd for.

    python -m tests.deploy.system_calls UNIT ANALYZE PROGRAM ...

systemd.exec(5): the first line of SystemCallFilter decides whether the list allows or denies, each
later one adds to it or takes away; what is not allowed kills the process. `@default` is always in.
"""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000  # seccomp.h
ALWAYS = "@default"


def members(analyze: str, name: str) -> set[str]:
    """The calls of a set and of those in it, or the one of that name."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        [analyze, "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    lines = (line.strip() for line in listed.splitlines()[1:])
    found = [line for line in lines if line and not line.startswith("#")]
    return set().union(*(members(analyze, each) for each in found))


def allowed(unit: str, analyze: str) -> set[str]:
    """All calls that the unit leaves."""
    calls = members(analyze, ALWAYS)
    for value in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        names = value.removeprefix("~").split()
        named = set().union(*(members(analyze, name) for name in names))
        calls = calls - named if value.startswith("~") else calls | named
    return calls | members(analyze, ALWAYS)


def load(calls: set[str]) -> None:
    """Put the filter on this process and on what it becomes."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # others are of another architecture
            assert library.seccomp_rule_add_exact(context, ctypes.c_uint32(ALLOW), number, 0) == 0
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    load(allowed(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])
