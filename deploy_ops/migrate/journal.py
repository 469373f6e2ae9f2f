"""What a run did, step by step, in one append-only file outside the database.

`DEPLOY_OPS_STATE_DIR/runs/<run>.jsonl`: a JSON object a line, fsynced before the step it announces,
so that the next run can tell what a killed one had done. A restore rewinds every table; these files
it does not touch.
"""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.errors import ConfigurationError, JournalFailed, UnresolvedRun, UsageError
from deploy_ops.files import (
    Lines,
    append_line,
    open_lines,
    read_lines,
    sync_directory,
)
from deploy_ops.history import release_of_runs
from deploy_ops.ids import is_beginning, is_id, new_id, only_one
from deploy_ops.places import state_directory
from deploy_ops.progress import listener

Json = dict[str, Any]
ENDED = frozenset({"finished", "resolved"})


def new_run_id() -> str:
    """An id that sorts behind those of all runs and releases, whatever the clock did meanwhile."""
    known = [*(record.run for record in read_runs()), *release_of_runs()]
    return new_id(datetime.now(UTC), after=max(filter(is_id, known), default=""))


class Journal:
    """The journal of the run that is going on; the only writer of its file."""

    def __init__(self, path: Path, descriptor: int, again: str) -> None:
        self.path = path
        self._again = again
        self._descriptor = descriptor
        self._beside = ThreadPoolExecutor(max_workers=1)

    @classmethod
    def start(
        cls,
        *,
        alias: str = DEFAULT_DB_ALIAS,
        command: Sequence[str] = ("safe_migrate",),
        **facts: Any,
    ) -> "Journal":
        """Open the journal of a new run of an alias, by a command of ours, and record its start."""
        run = new_run_id()
        directory = state_directory("runs")
        path = directory / f"{run}.jsonl"
        journal = cls(path, _open(path), manage(*command, alias=alias))
        try:
            sync_directory(directory)
            journal.record("started", alias=alias, command=command, **facts)
        except (JournalFailed, OSError) as error:
            journal.close()
            path.unlink(missing_ok=True)
            reason = error.__cause__ or error
            raise ConfigurationError(
                f"The journal {path} cannot be written: {reason}. Nothing was changed. "
                "Once that is fixed, run the command again."
            ) from error
        return journal

    @classmethod
    def reopen(cls, record: "Record") -> "Journal":
        """Go on writing the journal of an earlier run, to resolve it."""
        alias = str(record.start.get("alias", DEFAULT_DB_ALIAS))
        command = record.start.get("command", ("safe_migrate",))
        return cls(record.path, _open(record.path), manage(*command, alias=alias))

    @property
    def run(self) -> str:
        """The id of the run."""
        return self.path.stem

    def record(self, step: str, *, durably: bool = True, **facts: Any) -> None:
        """Append one step, durable when this returns; raises JournalFailed if it cannot be.

        What the database can be asked for again after a power cut need not be written `durably`:
        the next record, or `on_disk_at_the_end`, takes it along to the disk.
        """
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        try:
            append_line(self._descriptor, {"step": step, "at": now, **facts}, durably=durably)
            listener().detail(f"Journal of run {self.run}: {step}", 3)
        except OSError as error:
            raise self._failed(error, f"at '{step}'", "was begun") from error

    @contextmanager
    def on_disk_at_the_end(self) -> Iterator[None]:
        """Bring what was recorded to the disk beside the block, and wait for it where it ends well.

        For a step whose transaction commits after the block. Raises JournalFailed.
        """
        syncing = self._beside.submit(os.fsync, self._descriptor)
        yield
        try:
            syncing.result()
        except OSError as error:
            raise self._failed(error, "before a COMMIT", "was committed") from error

    def _failed(self, error: OSError, where: str, undone: str) -> JournalFailed:
        return JournalFailed(
            f"The journal of run {self.run} cannot be written: {error.strerror}. Stopped {where}: "
            f"what was committed until then stays, and nothing else {undone}. Once that is "
            f"fixed, this goes on from there:\n{self._again}"
        )

    def close(self) -> None:
        """Close the file."""
        self._beside.shutdown()
        os.close(self._descriptor)


@dataclass(frozen=True)
class Record:
    """A journal as read back from its file."""

    path: Path

    @property
    def run(self) -> str:
        """The id of the run."""
        return self.path.stem

    @cached_property
    def _lines(self) -> Lines:
        return read_lines(self.path)

    @cached_property
    def steps(self) -> list[Json]:
        """All whole lines that can be read; the last one may have been cut off by a crash."""
        return [entry for entry in self._lines.entries if isinstance(entry.get("step"), str)]

    @property
    def damage(self) -> str:
        """Which lines cannot be read, or why none can; "" if all can."""
        is_whole = len(self.steps) == len(self._lines.entries)
        return self._lines.damage or ("" if is_whole else f"{self.path} has lines without a step")

    def check_readable(self, alias: str) -> None:
        """Raise UnresolvedRun if what the run did cannot be told, since a line is damaged."""
        if not self.damage or self.is_resolved:
            return
        path = shlex.quote(str(self.path))
        raise UnresolvedRun(
            f"Run {self.run} did not end, and its journal is damaged: {self.damage}. So what it "
            "did last is not known. Nothing was changed now. See whether the migrations and the "
            "schema are as they should be, fix what is not, then put the journal aside:\n"
            f"{manage('showmigrations', alias=alias)}\n"
            f"    mv {path} {path}.damaged"
        )

    @property
    def is_resolved(self) -> bool:
        """Whether the run ended, or a later one found out how it ended."""
        return any(step["step"] in ENDED for step in self.steps)

    @property
    def start(self) -> Mapping[str, Any]:
        """The facts of the first step."""
        return self.steps[0] if self.steps else {}

    @property
    def key(self) -> str | None:
        """Which database it was on (`Identity.key`), None if that cannot be read."""
        key = self.start.get("key")
        return key if isinstance(key, str) else None

    @property
    def is_way_back(self) -> bool:
        """Whether it undid what came after an older release."""
        return list(self.start.get("command", ()))[:1] == ["rollback"]

    @property
    def last_step(self) -> str:
        """Name of the last step; a run killed at once may not have written any."""
        return str(self.steps[-1]["step"]) if self.steps else "none"

    def last(self, name: str) -> Json | None:
        """The last step of that name."""
        return next((step for step in reversed(self.steps) if step["step"] == name), None)


def read_runs() -> list[Record]:
    """Read all runs, oldest first."""
    return [Record(path) for path in sorted((conf.state_dir / "runs").glob("*.jsonl"))]


def find_run(text: str) -> str:
    """The id of the only run that begins with a text, its day at least; raises UsageError."""
    known = [record.run for record in read_runs()]
    found = text if text in known else is_beginning(text) and only_one(text, known)
    if not found:
        raise UsageError(
            f"There is no run {text!r}. Nothing was changed. See those there are:\n"
            "    python manage.py runs"
        )
    return found


def unresolved_runs(key: str) -> list[Record]:
    """Runs on this database (`Identity.key`) that neither ended nor were resolved.

    A run that does not say on which database it was may have been on this one.
    """
    return [
        record for record in read_runs() if not record.is_resolved and record.key in (None, key)
    ]


def open_runs() -> set[str]:
    """Ids of the runs that may still need their backup: those going on and the unresolved."""
    return {record.run for record in read_runs() if not record.is_resolved}


def referred_backups() -> set[str]:
    """Ids of backups that a running or unresolved run may still need."""
    return set(_backups(record for record in read_runs() if not record.is_resolved))


def referred_points() -> set[str]:
    """Names of the clones that a running or unresolved run may still need."""
    return {
        str(step["database"])
        for record in read_runs()
        if not record.is_resolved
        for step in record.steps
        if step["step"] in ("point_started", "point_made") and "database" in step
    }


def prune_runs(now: datetime) -> int:
    """Remove journals of resolved runs past DEPLOY_OPS_JOURNAL_RETENTION_DAYS; return how many."""
    before = (now - timedelta(days=conf.journal_retention_days)).timestamp()
    old = [r for r in read_runs() if r.path.lstat().st_mtime < before and r.is_resolved]
    for record in old:
        record.path.unlink()
    return len(old)


def _backups(records: Iterator[Record]) -> Iterator[str]:
    for record in records:
        if step := record.last("backed_up"):
            yield str(step.get("backup"))


def _open(path: Path) -> int:
    try:
        return open_lines(path)
    except OSError as error:
        raise ConfigurationError(
            f"The journal {path} cannot be opened: {error.strerror}. Without it a killed run could "
            "not be told from one that ended. Nothing was changed."
        ) from error
