"""Where a measurement was made, and how much of the processors others used meanwhile."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PACKAGES = ("Django", "psycopg", "django-dbbackup")


def describe_machine(directory: Path, programs: list[str]) -> list[str]:
    """Lines for the head of a report; `directory` is where the data lies."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    moment = datetime.now(UTC).isoformat(timespec="minutes")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        f"$ python -m {_module()} {' '.join(sys.argv[1:])}".rstrip(),
        f"{moment}, code {_said('git', 'describe', '--always', '--dirty')}",
        f"{os.cpu_count()} x {_processor()}, {memory:.0f} GB, Linux {platform.release()}, "
        f"{_file_system(directory)}, load {', '.join(f'{load:.1f}' for load in os.getloadavg())}",
        f"Python {platform.python_version()}, {packages}",
        *[_said(program, "--version") for program in programs],
    ]


def busy_seconds() -> float:
    """Seconds that all processors together have worked since the machine was started."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / TICKS_PER_SECOND


def tree_seconds(pid: int) -> float:
    """Processor seconds of a server process with its children, the ended ones included."""
    own = sum(_times(pid)[:4])
    return own + sum(sum(_times(child)[:2]) for child in _children(pid))


def _times(pid: int) -> list[float]:
    """User and system time, then those of the children that were waited for; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return [0.0] * 4
    return [int(field) / TICKS_PER_SECOND for field in fields[11:15]]


def _children(pid: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        try:
            status = (
                Path(f"/proc/{name}/stat").read_text(encoding="utf-8") if name.isdigit() else ""
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        if status and status.rpartition(")")[2].split()[1] == str(pid):
            yield int(name)


def _module() -> str:
    return f"benchmarks.{Path(sys.argv[0]).stem}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    return _said("df", "--output=fstype", str(directory)).split()[-1]


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip()
