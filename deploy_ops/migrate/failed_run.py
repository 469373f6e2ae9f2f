"""A failed run on its way to recovery: why the steps so far failed, and how the schema differs."""

from dataclasses import dataclass, field

from deploy_ops.databases.base import Writes
from deploy_ops.errors import DeployOpsError
from deploy_ops.migrate.apply import text_of
from deploy_ops.migrate.ladder import Rung
from deploy_ops.migrate.run import Run

SHOWN_LINES = 20


@dataclass
class FailedRun:
    """A failed run, and why the recovery steps so far failed."""

    run: Run
    has_lock: bool
    writes: Writes | None = None
    reasons: list[str] = field(default_factory=list)
    tried: set[Rung] = field(default_factory=set)


def why(error: BaseException) -> str:
    """The reason to give for a recovery step that failed."""
    if isinstance(error, DeployOpsError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped by the operator."
    return text_of(error)


def schema_difference(run: Run, *, after_restore: bool = False) -> list[str]:
    """How the schema differs from the one before the run; all of it counts, whoever changed it."""
    assert run.before is not None
    now, before = run.database.schema(), run.before
    if after_restore:
        now, before = now.without_casts(), before.without_casts()
    return now.difference(before)


def listed(lines: list[str], most: int = SHOWN_LINES) -> str:
    """Some lines, indented, and how many there are more."""
    shown = [f"    {line}" for line in lines[:most]]
    if len(lines) > most:
        shown.append(f"    and {len(lines) - most} more")
    return "\n".join(shown)
