"""Runs as a table for people."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from deploy_ops.ids import shortened
from deploy_ops.management.base import spoken_age
from deploy_ops.management.tables import local_time
from deploy_ops.migrate.ladder import Rung
from deploy_ops.release.runs import Run, State

HEADINGS = ("ID", "BEGAN", "AGE", "WHAT", "DATABASE", "STEPS", "STATE", "TOOK", "BACKUP", "NOTES")
OPEN = (State.UNRESOLVED, State.UNKNOWN)
STATES: Mapping[str, str] = {
    State.AT_WORK: "at work",
    State.UNRESOLVED: "did not end",
    State.UNKNOWN: "did not end, or is at work",
    State.DONE: "done",
    State.STOPPED: "stopped before the first step",
    State.RECOVERED: "failed, and recovered",
    State.FAILED: "failed",
    State.RESOLVED: "did not end, resolved later",
}
RECOVERIES: Mapping[str, str] = {
    Rung.ROLLED_BACK: "failed, and rolled back",
    Rung.REVERSED: "failed, and reversed",
    Rung.RESTORED: "failed, and restored",
    Rung.MANUAL_INTERVENTION: "failed, needs a person",
}


def rows(runs: Sequence[Run], ids: Sequence[str], now: datetime) -> Iterator[Sequence[str]]:
    """The cells of each run; `ids` are those of all runs, among which one has to be known."""
    short = shortened(ids)
    for run in runs:
        yield (
            short[run.id],
            local_time(run.began) if run.began else "",
            spoken_age(now - run.began) if run.began else "",
            shlex.join(run.command),
            run.database,
            _steps(run),
            _state(run),
            "" if run.seconds is None else f"{run.seconds:.1f} s",
            run.backup,
            run.outcome or run.damage,
        )


def _steps(run: Run) -> str:
    is_whole = run.committed == run.steps
    return str(run.steps) if is_whole else f"{run.committed} of {run.steps}"


def _state(run: Run) -> str:
    is_ended = run.state in (State.RECOVERED, State.FAILED)
    return RECOVERIES.get(run.rung, STATES[run.state]) if is_ended else STATES[run.state]
