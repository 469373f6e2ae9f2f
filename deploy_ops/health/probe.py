"""A check in a thread of its own, so that whoever asks never waits for what it looks at.

No time-out of a driver covers every failure: `statement_timeout` is enforced by the very server
that may be frozen, `tcp_user_timeout` is content with the kernel's acknowledgements, and a name
lookup or a hung file system knows neither. So the caller's patience is what is bounded here. A run
that got stuck stays so until what it waits for answers: one thread, never a second.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import timedelta
from weakref import WeakSet

from django.db import connections
from django.dispatch import Signal

from deploy_ops.errors import DeployOpsError
from deploy_ops.redact import redact

logger = logging.getLogger("deploy_ops.health")

DEADLINE = timedelta(seconds=1.5)
KEEP = timedelta(seconds=1)
# How long callers wait for what failed last time. A server that is back answers within it, and one
# that is not costs a sync worker no more than this, once per run.
BRIEF = timedelta(seconds=0.1)
# For each run that failed, and for the first answer that had to be given without one.
failed = Signal()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found. `reason` is empty when nothing failed, and `note` is what the check says
    then, why it cannot know where it is not `is_known`; both are for staff and logs only."""

    reason: str = ""
    seconds: float = 0.0
    note: str = ""
    is_known: bool = True

    @property
    def is_ok(self) -> bool:
        """Whether nothing failed."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class NotKnown:
    """What a check returns that has found no failure, and could not look everywhere, and why."""

    why: str


@dataclass(slots=True, eq=False)
class CheckRun:
    """One run under way; `started` is monotonic seconds."""

    started: float
    future: Future[Outcome] = field(default_factory=Future)

    def __post_init__(self) -> None:
        # A running future cannot be cancelled: a caller that gives up takes nobody else along.
        self.future.set_running_or_notify_cancel()


class Probe:
    """Runs `check` when asked and the last outcome is too old.

    Anything that it raises is a failure; a text that it returns is a note, and NotKnown says so.

    A good outcome is kept for `keep`, a failure for a second. Nobody waits longer than `deadline`,
    counted from the start of the run, so that latecomers wait less. A server's probes are watched:
    logged and counted; a command tells the outcome itself.
    """

    def __init__(
        self,
        name: str,
        check: Callable[[], object],
        *,
        deadline: timedelta = DEADLINE,
        keep: timedelta = KEEP,
        is_watched: bool = True,
    ) -> None:
        self.name = name
        self._check = check
        self._deadline = deadline
        self._keep = keep
        self._is_watched = is_watched
        self.forget()
        _probes.add(self)

    def forget(self) -> None:
        """Begin anew: in a forked child neither the thread nor a held lock came along."""
        self._lock = threading.Lock()
        self._check_run: CheckRun | None = None
        self._last: Outcome | None = None
        self._fresh_until = 0.0

    def begin(self) -> Outcome | CheckRun:
        """Return an outcome that is fresh, else the run that will bring one."""
        with self._lock:
            if self._last and time.monotonic() < self._fresh_until:
                return self._last
            check_run = self._check_run
            if check_run is None:
                check_run = self._check_run = CheckRun(time.monotonic())
                self._launch(check_run)
            return check_run

    def outcome(self) -> Outcome:
        """Return what is known at the deadline at the latest."""
        return self.wait(self.begin())

    def wait(self, begun: Outcome | CheckRun) -> Outcome:
        """Return the outcome of what `begin` returned, at the deadline at the latest."""
        if isinstance(begun, Outcome):
            return begun
        try:
            return begun.future.result(self._seconds_left(begun))
        except TimeoutError:
            return self._give_up(begun)

    async def aoutcome(self) -> Outcome:
        """The same without holding up the event loop, nor taking a thread for waiting."""
        check_run = self.begin()
        if isinstance(check_run, Outcome):
            return check_run
        try:
            future = asyncio.wrap_future(check_run.future)
            return await asyncio.wait_for(future, self._seconds_left(check_run))
        except TimeoutError:
            return self._give_up(check_run)

    def _seconds_left(self, check_run: CheckRun) -> float:
        patience = self._deadline if self._last is None or self._last.is_ok else BRIEF
        return max(0.0, check_run.started + patience.total_seconds() - time.monotonic())

    def _launch(self, check_run: CheckRun) -> None:
        name = f"deploy_ops.health/{self.name}"
        try:
            threading.Thread(
                target=self._run_check, args=(check_run,), name=name, daemon=True
            ).start()
        except RuntimeError as error:  # the system has no thread left to give
            self._check_run = None
            check_run.future.set_result(Outcome(str(error)))

    def _run_check(self, check_run: CheckRun) -> None:
        found = self._run()
        now = time.monotonic()
        outcome = replace(found, seconds=now - check_run.started)
        with self._lock:
            self._remember(outcome)
            self._fresh_until = now + (self._keep if found.is_ok else KEEP).total_seconds()
            self._check_run = None
            # Still inside, or a caller who gives up in between would find neither run nor outcome.
            check_run.future.set_result(outcome)

    def _run(self) -> Outcome:
        try:
            try:
                said = self._check()
            finally:
                # A check may have used Django's connections; those of this thread nobody else
                # closes.
                connections.close_all()
        except BaseException as error:  # pylint: disable=broad-exception-caught
            # Whatever it was, SystemExit too: the check did not pass, and the reason is told.
            reason = error.fact if isinstance(error, DeployOpsError) else str(error)
            return Outcome(redact(reason).strip() or type(error).__name__)
        if isinstance(said, NotKnown):
            return Outcome(note=said.why, is_known=False)
        return Outcome(note=said if isinstance(said, str) else "")

    def _give_up(self, check_run: CheckRun) -> Outcome:
        with self._lock:
            if check_run is not self._check_run:
                return check_run.future.result(0)  # it ended in this moment
            if self._last is None or self._last.is_ok:
                limit = self._deadline.total_seconds()
                self._remember(Outcome(f"no answer within {limit:g} s", limit))
            assert self._last is not None
            return self._last

    def _remember(self, outcome: Outcome) -> None:
        """Keep the outcome, and log the change, not every poll: an outage has two lines."""
        was_ok = self._last is None or self._last.is_ok
        noted, self._last = self._last.note if self._last else "", outcome
        if not self._is_watched:
            return
        if not outcome.is_ok:
            failed.send_robust(type(self), name=self.name)
        if was_ok and not outcome.is_ok:
            logger.error("Health check %s fails: %s", self.name, outcome.reason)
        elif outcome.is_ok and not was_ok:
            logger.info("Health check %s passes again", self.name)
        if outcome.note and outcome.note != noted:
            how = "passes" if outcome.is_known else "cannot know"
            logger.info("Health check %s %s: %s", self.name, how, outcome.note)


def outcomes(probes: Mapping[str, Probe]) -> dict[str, Outcome]:
    """Ask all of them at once; together they take no longer than the slowest deadline."""
    begun = {name: probe.begin() for name, probe in probes.items()}
    return {name: probe.wait(begun[name]) for name, probe in probes.items()}


async def aoutcomes(probes: Mapping[str, Probe]) -> dict[str, Outcome]:
    """The same in an event loop; without probes it does not even let others run meanwhile."""
    if not probes:
        return {}
    found = await asyncio.gather(*(probe.aoutcome() for probe in probes.values()))
    return dict(zip(probes, found, strict=True))


_probes: WeakSet[Probe] = WeakSet()


def _forget_all() -> None:
    for probe in list(_probes):
        probe.forget()


os.register_at_fork(after_in_child=_forget_all)
