"""One run of safe_migrate as a value: what was asked, what it works with, what came of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
import time
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.advice import manage
from deploy_ops.audit import Outcome
from deploy_ops.backup.entry import Backup
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Database, Invalid, RowCounts, Schema
from deploy_ops.lock import DeployLock
from deploy_ops.migrate.history import History, Todo
from deploy_ops.migrate.journal import Journal
from deploy_ops.migrate.ladder import OnFailure, Rung
from deploy_ops.migrate.plan import Key, Plan, Step
from deploy_ops.migrate.rehearsal import Rehearsal
from deploy_ops.migrate.safety import Choice, Safety
from deploy_ops.phases.snapshot import Snapshot
from deploy_ops.progress import Progress

if TYPE_CHECKING:
    from deploy_ops.backup.methods.clone import Clone
    from deploy_ops.backup.methods.restore_point import RestorePoint

Target = tuple[str, str | None]


class Phase(StrEnum):
    """Which half of changes in two phases is run."""

    EXPAND = "expand"
    CONTRACT = "contract"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class BackTo:
    """An older release: the migrations that it ends with, and what it needs of the schema.

    None in a target is before the first migration of an app.
    """

    targets: Sequence[Target]
    needs: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the operator asked for.

    With `back_to` all that came after an older release is undone, if nothing is lost by it.
    `may_end_sessions`: the operator agrees that a safety point ends those of others.
    `command` is what asks for it, where that is not safe_migrate.
    """

    alias: str
    command: Sequence[str] = ()
    app: str | None = None
    migration: str | None = None
    back_to: BackTo | None = None
    phase: Phase | None = None
    force: bool = False
    rehearse: bool = False
    safety: Safety = Safety.AUTO
    may_end_sessions: bool = False
    on_failure: OnFailure = OnFailure.AUTO
    accept_data_loss: bool = False
    allow: Sequence[str] = ()
    resolved: str | None = None
    exclusive: bool = False
    single_transaction: bool = False
    lock_timeout: timedelta = timedelta(milliseconds=100)
    lock_retries: int = 100
    wait: timedelta = timedelta(seconds=60)

    @property
    def words(self) -> Sequence[str]:
        """What is typed for it: all that decides what is done; who takes a risk says so anew."""
        if self.command:
            return self.command
        words = ["safe_migrate", *filter(None, (self.app, self.migration))]
        words += ["--phase", self.phase] if self.phase else []
        words += ["--exclusive"] if self.exclusive else []
        words += ["--single-transaction"] if self.single_transaction else []
        words += ["--safety", self.safety] if self.safety in (Safety.CLONE, Safety.DUMP) else []
        words += ["--on-failure", self.on_failure] if self.on_failure is not OnFailure.AUTO else []
        return words + [word for rule in self.allow for word in ("--allow", rule)]

    def again(self, *options: str) -> str:
        """The line to type for the same once more."""
        return manage(*self.words, *options, alias=self.alias)

    @property
    def phases(self) -> frozenset[Phase]:
        """EXPAND, CONTRACT or both, as asked or as the project has it."""
        phase = self.phase or (Phase.EXPAND if conf.two_phase else Phase.ALL)
        both = frozenset({Phase.EXPAND, Phase.CONTRACT})
        return both if phase is Phase.ALL else frozenset({phase})


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a failed run ended; `facts` goes into the JSON, `message` to people."""

    rung: Rung
    message: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Result:
    """How it ended; `status` is ok, nothing_to_do, recovered or failed.

    `kept_tables` hold the rows of tables that a way back has dropped.
    """

    database: str
    status: str = "nothing_to_do"
    run: str | None = None
    backup: str | None = None
    safety: Choice | None = None
    applied: list[Key] = field(default_factory=list)
    kept_tables: list[str] = field(default_factory=list)
    findings: list[CheckMessage] = field(default_factory=list)
    recovery: Recovery | None = None
    rehearsal: Rehearsal | None = None
    error: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 done, 3 recovered, 4 manual intervention required."""
        return {"ok": 0, "nothing_to_do": 0, "recovered": 3, "failed": 4}[self.status]

    @property
    def outcome(self) -> Outcome:
        """The same for those who are told of it."""
        return {"recovered": Outcome.RECOVERED, "failed": Outcome.FAILED}.get(
            self.status, Outcome.DONE
        )

    @property
    def story(self) -> str:
        """What failed, and what was done about it; nothing if all went well."""
        told = [self.error, self.recovery.message if self.recovery else ""]
        return "\n".join(filter(None, told))

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Note how long a phase took."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = round(time.monotonic() - started, 3)


class Remains(StrEnum):
    """What a step that failed has left in the database."""

    NOTHING = "nothing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """A group of steps that failed, what it left, and the fact that says so.

    `ended_transaction`: it was run in a transaction and ended that itself.
    """

    steps: tuple[Step, ...]
    remains: Remains
    evidence: str
    ended_transaction: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """Steps that this run committed together.

    `rows` are those that they changed, by table as the server counts them, None where that is not
    known; `have_changed_files` whether code of theirs may have truncated, rewritten or dropped a
    table or a column of it; `has_put_off` whether it had work for after its COMMIT;
    `was_interrupted` whether the operator asked to stop meanwhile.
    """

    steps: tuple[Step, ...]
    rows: RowCounts | None
    have_changed_files: bool = False
    has_put_off: bool = False
    was_interrupted: bool = False


@dataclass
class Run:  # pylint: disable=too-many-instance-attributes
    """What every part of a run works with, and what the run has done so far.

    `own_rows` counts the rows this run changed by table, rolled back ones included, as the
    server's own counters do; None once they could not be told. `begun` are the steps that are
    begun together: after a failure there are none, unless it came before it was known how they
    ended. `at_work` is the one of them that is being done, or failed while it was. `extras` is
    what was committed besides migrations, as words, and is not undone. `clone` is there until a
    backup of it is, or it was put back.
    """

    request: Request
    result: Result
    progress: Progress
    lock: DeployLock
    todo: Todo
    history: History
    journal: Journal
    prepare: Callable[[], None] = lambda: None
    backup: Backup | None = None
    clone: "Clone | None" = None
    restore_point: "RestorePoint | None" = None
    before: Schema | None = None
    invalid_before: frozenset[Invalid] = frozenset()
    tables_before: frozenset[int] = frozenset()
    own_rows: RowCounts | None = field(default_factory=dict)
    applied: list[Applied] = field(default_factory=list)
    begun: tuple[Step, ...] = ()
    at_work: Step | None = None
    extras: list[str] = field(default_factory=list)
    failure: Failure | None = None
    is_unfinished: bool = False

    @property
    def alias(self) -> str:
        """Alias of the database that is migrated."""
        return self.request.alias

    @property
    def plan(self) -> Plan:
        """The steps in order."""
        return self.todo.plan

    @property
    def policy(self) -> OnFailure:
        """Which recovery steps are allowed; what a contract has done is whole, and stays."""
        return OnFailure.STOP if self.plan.is_contract else self.request.on_failure

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Django's connection, which migrates."""
        return connections[self.alias]

    @property
    def database(self) -> Database:
        """The database, as deploy_ops sees it."""
        return database_for(self.alias)

    @property
    def has_point(self) -> bool:
        """Whether there is what the run can go back to."""
        return any((self.clone, self.restore_point, self.backup))

    @property
    def applied_steps(self) -> list[Step]:
        """Every step that this run committed and has not undone, in order."""
        return [step for group in self.applied for step in group.steps]

    def add_own_rows(self, rows: RowCounts | None) -> None:
        """Add what a transaction of ours changed; None makes the sum unknown for good."""
        if rows is None or self.own_rows is None:
            self.own_rows = None
            return
        for table, changes in rows.items():
            self.own_rows[table] = self.own_rows.get(table, 0) + changes
