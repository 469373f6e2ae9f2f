"""What each operation of a plan will do: when and why then, under which lock, how big, how long.

Loads the lint, which reads operations; so it is imported only where a plan is shown.
"""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.migrate.history import Todo
from deploy_ops.migrate.lint.estimate import seconds_of
from deploy_ops.migrate.lint.impact import Impact, Lock, Work
from deploy_ops.migrate.lint.operations import READERS, impacts_of, is_known
from deploy_ops.migrate.lint.parsing import statements_of
from deploy_ops.migrate.lint.scene import Scene, World, table_of
from deploy_ops.migrate.lint.source import source_of
from deploy_ops.migrate.lint.statements import impacts_of_statement, is_read
from deploy_ops.migrate.lint.walk import Deed, walk
from deploy_ops.migrate.plan import Plan, Step
from deploy_ops.migrate.run import Phase, Request
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.operations.after_backfill import AfterBackfill
from deploy_ops.phases.operations.backfill import Backfill
from deploy_ops.phases.operations.base import Change, PhasedOperation, WaitingOperation
from deploy_ops.phases.waiting import Waiting, change_of, do_contract

NOT_IN_TWO = "it is no operation of two phases"


@dataclass(frozen=True, slots=True)
class Timing:
    """In which phase an operation runs, and why; `waits` is what of it waits for the contract."""

    phase: Phase
    why: str
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of one operation before it runs.

    `lock` is the strongest that it takes, "" for none and None where that is not known; `table` the
    one that it is taken on, `rows` and `size_bytes` those of it. None stands for not known, and
    `is_new` for a table that the plan makes, or that holds nothing.
    """

    operation: str
    timing: Timing
    lock: str | None = None
    table: str | None = None
    is_new: bool = False
    rows: int | None = None
    size_bytes: int | None = None
    seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "operation": self.operation,
            "phase": self.timing.phase,
            "why": self.timing.why,
            "waits": self.timing.waits,
            "lock": self.lock,
            "table": self.table,
            "is_new": self.is_new,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
        }


@dataclass(frozen=True, slots=True)
class _Filled:
    """A detached backfill of the plan, which is not done before the rest of it."""

    app: str
    operation: Backfill


def outlooks(request: Request, todo: Todo, plan: Plan) -> dict[tuple[str, str], list[Outlook]]:
    """For each step of a plan what its operations will do, in their order."""
    looker = _Looker(request)
    state = todo.history.state.clone()
    found: dict[tuple[str, str], list[Outlook]] = {}
    for (migration, backwards), step in zip(todo.migrations, plan.steps, strict=False):
        if backwards:
            found[step.key] = [_reversed(text) for text in step.operations]
        else:
            found[step.key] = list(looker.migration(migration, state))
    for step in plan.steps:
        if step.contract is not None:
            found[step.key] = [looker.contract(step, step.contract)]
    return found


def _reversed(text: str) -> Outlook:
    return Outlook(text, Timing(Phase.EXPAND, "it is taken back"))


class _Looker:
    def __init__(self, request: Request) -> None:
        self._connection = connections[request.alias]
        self._world = World(database_for(request.alias).facts())
        self._filled: list[_Filled] = []

    @cached_property
    def _loader(self) -> MigrationLoader:
        return MigrationLoader(self._connection)

    def migration(self, migration: Migration, state: ProjectState) -> Iterator[Outlook]:
        """Its operations, those that hide behind a separate state included."""
        source = source_of(migration)
        deeds = walk(migration, state, self._connection, self._world, source)
        by_index: dict[int, list[Outlook]] = {}
        for deed in deeds:
            by_index.setdefault(deed.place.index, []).append(self._deed(deed))
        for index, operation in enumerate(migration.operations):
            yield from by_index.get(index) or [self._nobodys(operation)]

    def contract(self, step: Step, waiting: Waiting) -> Outlook:
        """What waited."""
        text = step.operations[0]
        why = f"it waits since release {waiting.row.release}"
        if waiting.row.waits_for:
            why += f", and for the backfill {waiting.row.waits_for}"
        timing = Timing(Phase.CONTRACT, why)
        if waiting.found is None:
            return Outlook(text, timing)
        editor = self._connection.schema_editor(collect_sql=True, atomic=False)
        change = change_of(self._loader, editor, waiting)
        inner = getattr(waiting.found.operation, "operation", None)
        if isinstance(inner, RunPython):  # would run
            scene = Scene(
                change.app,
                (change.before, change.after),
                self._connection,
                self._world,
                waiting.is_atomic,
            )
            found = list(impacts_of(inner, scene)) or None  # more than its source shows
            return self._outlook(text, timing, found, waiting.row.table)
        do_contract(waiting, change)
        return self._outlook(text, timing, self._of_sql(change), waiting.row.table)

    def _nobodys(self, operation: Operation) -> Outlook:
        timing = Timing(Phase.EXPAND, "nobody uses its table yet, or it has none")
        return Outlook(operation.describe(), timing, lock="", is_new=True, seconds=0.0)

    def _deed(self, deed: Deed) -> Outlook:
        operation, scene = deed.operation, deed.scene
        editor = self._connection.schema_editor(collect_sql=True, atomic=False)
        change = Change(scene.app_label, editor, *scene.states)
        timing, text = self._timing(operation, change), operation.describe()
        if isinstance(operation, Backfill) and operation.detached:
            self._filled.append(_Filled(scene.app_label, operation))
        table = self._own_table(operation, scene)
        if deed.error is not None:
            return Outlook(text, timing, table=table)
        if timing.phase is Phase.CONTRACT:
            return self._outlook(text, timing, [], table)
        if isinstance(operation, Backfill):
            return self._outlook(text, timing, _of_backfill(table), table)
        is_plain = self._connection.vendor != "postgresql"  # each is Django's own there
        if is_plain or not isinstance(operation, WaitingOperation):
            return self._outlook(text, timing, _known_impacts(deed), table)
        return self._outlook(text, timing, self._of_phased(operation, change, scene, timing), table)

    def _timing(self, operation: Operation, change: Change) -> Timing:
        if not isinstance(operation, WaitingOperation):
            is_put_off = isinstance(operation, Backfill) and operation.detached
            why = "workers do it once its code is deployed" if is_put_off else NOT_IN_TWO
            return Timing(Phase.EXPAND, why)
        if runs_alone(self._connection, change.app):
            return Timing(Phase.ALL, "no other code can be at work on it")
        if isinstance(operation, AfterBackfill) and self._is_filled_later(operation, change):
            why = "a detached backfill fills it first"
            return Timing(Phase.CONTRACT, why, operation.describe())
        if not isinstance(operation, PhasedOperation):
            return Timing(Phase.EXPAND, "nobody waits for it")
        if not conf.two_phase:
            return Timing(Phase.ALL, "DEPLOY_OPS_TWO_PHASE is off")
        return self._timing_of_two(operation, change)

    def _timing_of_two(self, operation: PhasedOperation, change: Change) -> Timing:
        entry = operation.entry(change) if operation.concerns(change) else None
        if entry is None:
            return Timing(Phase.EXPAND, "the release before can live with it")
        why = "the release before still needs it"
        phase = Phase.EXPAND if operation.begins_at_once else Phase.CONTRACT
        return Timing(phase, why, entry.description)

    def _is_filled_later(self, operation: AfterBackfill, change: Change) -> bool:
        if operation.unfinished_backfill(change):
            return True
        fields, name = operation.enforced(), operation.model_name.lower()
        return any(
            each.app == change.app
            and each.operation.model_name.lower() == name
            and (fields is None or each.operation.field_name in fields)
            for each in self._filled
        )

    def _of_phased(
        self, operation: WaitingOperation, change: Change, scene: Scene, timing: Timing
    ) -> Iterable[Impact] | None:
        """What its statements do; None where these could not be read."""
        inner = getattr(operation, "operation", None)
        if inner is not None and timing.phase is Phase.ALL:
            found = list(impacts_of(inner, scene))
            return found or (None if isinstance(inner, RunPython | RunSQL) else found)
        if isinstance(operation, PhasedOperation):
            if not operation.concerns(change):
                return []
            operation.expand(change)
            if timing.phase is Phase.ALL:
                operation.contract(change)
        else:
            operation.contract(change)
        return self._of_sql(change)

    def _of_sql(self, change: Change) -> Iterable[Impact] | None:
        parsed = statements_of(change.editor.collected_sql)
        if not isinstance(parsed, list):
            return None
        return [each for node in parsed for each in impacts_of_statement(node, self._world)]

    def _own_table(self, operation: Operation, scene: Scene) -> str | None:
        name = getattr(operation, "model_name", None)
        if isinstance(operation, PhasedOperation):
            name = operation.subject
        for state in scene.states if name else ():
            if model := state.models.get((scene.app_label, str(name).lower())):
                return table_of(state.apps.get_model(scene.app_label, model.name))
        return None

    def _outlook(
        self, text: str, timing: Timing, impacts: Iterable[Impact] | None, table: str | None
    ) -> Outlook:
        found = [] if impacts is None else [each for each in impacts if each.lock]
        strongest = max(found, key=lambda each: each.lock, default=None)
        lock = strongest.lock.label if strongest else None if impacts is None else ""
        if not self._world.facts.server_version:
            return Outlook(text, timing)
        table = strongest.table if strongest else table
        known = self._world.table(table) if table else None
        is_new = table is not None and self._world.is_free(table)
        return Outlook(
            text,
            timing,
            lock,
            table,
            is_new,
            known.rows if known else None,
            known.total_bytes if known else None,
            None if impacts is None else self._seconds(found),
        )

    def _seconds(self, impacts: Iterable[Impact]) -> float | None:
        times = [
            (
                0.0
                if self._world.is_free(each.table)
                else seconds_of(each.work, self._world.table(each.table), each.times)
            )
            for each in impacts
        ]
        known = [each for each in times if each is not None]
        return sum(known) if len(known) == len(times) else None


def _known_impacts(deed: Deed) -> Iterable[Impact] | None:
    """None where what it does could not be read, or not all of it."""
    operation = deed.operation
    if not is_known(operation) or type(operation).__name__ not in READERS:
        return None
    if isinstance(operation, RunSQL):
        parsed = statements_of(operation.sql)
        return deed.impacts if isinstance(parsed, list) and all(map(is_read, parsed)) else None
    if isinstance(operation, RunPython) and operation.code is not RunPython.noop:
        return deed.impacts or None  # what its source does not show
    return deed.impacts


def _of_backfill(table: str | None) -> list[Impact]:
    return [Impact(table=table, lock=Lock.ROW_EXCLUSIVE, work=Work.UPDATE)] if table else []
