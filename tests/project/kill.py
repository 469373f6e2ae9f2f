"""Faults at a named step of the journal, in the real process.

KILL_AT=journal:<step>:before|after[:n] ends the process with SIGKILL right before or right after
the n-th record (default: the first) of that step; `*` counts every step. TERMINATE_AT and RAISE_AT
take the same form: the one sends SIGTERM, and from the other on the journal's file lies on a full
disk (/dev/full). UNSYNCED_AT too: from there on fsync of that file fails, and nothing reaches it.
"""

import errno
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from deploy_ops import history
from deploy_ops.migrate.journal import Journal


@dataclass
class Fault:
    """What happens, and when."""

    step: str
    moment: str
    number: int
    strike: Callable[[Journal], None]
    seen: int = field(default=0)

    @classmethod
    def parse(cls, text: str, strike: Callable[[Journal], None]) -> "Fault":
        """From the value of KILL_AT or RAISE_AT; ValueError where it does not follow the form."""
        form = re.fullmatch(r"journal:([^:]+):(before|after)(?::(\d+))?", text)
        if not form:
            raise ValueError(f"not journal:<step>:before|after[:n]: {text}")
        step, moment, number = form.groups()
        return cls(step, moment, int(number or 1), strike)

    def patch(self, journal: type[Journal]) -> None:
        """Wrap `journal.record`."""
        record = journal.record

        @wraps(record)
        def record_with_fault(instance: Journal, step: str, **facts: Any) -> Any:
            self.seen += self.step in ("*", step)
            due = self.seen == self.number and self.step in ("*", step)
            if due and self.moment == "before":
                self.strike(instance)
            answer = record(instance, step, **facts)
            if due and self.moment == "after":
                self.strike(instance)
            return answer

        journal.record = record_with_fault


def arm() -> None:
    """Patch the journal, and the history of releases, as the environment says."""
    if "FULL_DISK_FOR" in os.environ:
        history.add_line = _no_space_left
    for variable, strike in FAULTS.items():
        if variable in os.environ:
            Fault.parse(os.environ[variable], strike).patch(Journal)


def _no_space_left(path: Path, entry: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _kill(journal: Journal) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _terminate(journal: Journal) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _fill_disk(journal: Journal) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), journal._descriptor)


def _lose_disk(journal: Journal) -> None:
    os.dup2(os.pipe()[1], journal._descriptor)  # may be written to, and not be synced


FAULTS = {
    "KILL_AT": _kill,
    "TERMINATE_AT": _terminate,
    "RAISE_AT": _fill_disk,
    "UNSYNCED_AT": _lose_disk,
}
