"""Whether the release that runs and the one to come both work once a plan has run.

The release that runs is known by what was recorded when it was released; without that record it
is taken to be what the migrations before the plan say. Call it before anything is applied.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Set

from dataclasses import dataclass
from datetime import datetime

from django.apps import apps
from django.apps.registry import Apps
from django.core.checks import CheckMessage
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from deploy_ops import times
from deploy_ops.audit import restores_of
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.history import Release, last_schema
from deploy_ops.phases.between import Step, schema_between
from deploy_ops.phases.compat import Code, code_findings, compat_findings
from deploy_ops.phases.halves import run_together
from deploy_ops.phases.operations.base import Change, PhasedOperation
from deploy_ops.phases.snapshot import Snapshot, take_snapshot
from deploy_ops.phases.waiting import Key, Waiting, all_done, all_waiting
from deploy_ops.phases.where import walk
from deploy_ops.version import code_version

BEFORE_THE_PLAN = "before these migrations"
Waits = Callable[[Operation, Change], bool]


@dataclass(frozen=True, slots=True)
class Moment:
    """Models between two operations: as migrations have them, and as tables."""

    connection: BaseDatabaseWrapper
    state: ProjectState
    tables: Snapshot

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper, state: ProjectState) -> "Moment":
        """Look at models."""
        return cls(connection, state, take_snapshot(state.apps, connection))

    def after(self, operation: Operation, app: str) -> "Moment":
        """The models after an operation of an app."""
        state = self.state.clone()  # takes over the models that were made for the snapshot
        operation.state_forwards(app, state)
        return self.of(self.connection, state)


def plan_findings(
    connection: BaseDatabaseWrapper,
    state: ProjectState,
    migrations: Iterable[Migration],
    new_models: Apps = apps,
) -> list[CheckMessage]:
    """Say what of either release fails after the migrations, which follow upon `state`."""
    now = Moment.of(connection, state)
    new = Code(code_version(), take_snapshot(new_models, connection), is_old=False)
    start, steps = _steps_until(now)
    between = schema_between(start, [*steps, *_steps(now, migrations, _will_wait)])
    return compat_findings(_running(connection.alias, now.tables), new, between)


def findings_of(
    connection: BaseDatabaseWrapper,
    state: ProjectState,
    code: Code,
    migrations: Iterable[Migration] = (),
) -> list[CheckMessage]:
    """Say what of a code fails on the schema of now, or once these migrations have run.

    `state` is that of the applied migrations.
    """
    now = Moment.of(connection, state)
    start, steps = _steps_until(now)
    planned = _steps(now, migrations, _will_wait)
    return list(code_findings(code, schema_between(start, [*steps, *planned])))


def expected_schema(connection: BaseDatabaseWrapper, state: ProjectState) -> Snapshot:
    """What migrations have made of the tables: `state` is that of those that are applied."""
    return schema_between(*_steps_until(Moment.of(connection, state)))


def findings_then(
    connection: BaseDatabaseWrapper, applied: Set[Key], at: datetime, code: Code
) -> list[CheckMessage]:
    """Say what of a code fails on the schema as it was at a moment, when these were applied."""
    loader = MigrationLoader(connection)
    nodes = loader.graph.nodes
    squashed = {key for key, node in nodes.items() if node.replaces and applied >= {*node.replaces}}
    applied = applied | squashed
    known = [key for key in nodes if key in applied]
    moment = Moment.of(connection, loader.project_state(known))
    rows = [
        each
        for each in [*all_waiting(connection), *all_done(connection, loader)]
        if each.key in applied and (each.row.done_at is None or each.row.done_at > at)
    ]
    start, steps = _steps_since(moment, rows, applied)
    return list(code_findings(code, schema_between(start, steps)))


def _steps_until(now: Moment) -> tuple[Snapshot, list[Step]]:
    """Where tables and models last were the same, and what has been done since.

    While operations of applied migrations wait, there is more in the tables than the models tell:
    what an earlier release has put off, or an expand phase that was cut off.
    """
    rows = all_waiting(now.connection)
    applied = MigrationLoader(now.connection).applied_migrations if rows else {}
    return _steps_since(now, rows, applied.keys())


def _steps_since(
    now: Moment, rows: Iterable[Waiting], applied: Set[Key]
) -> tuple[Snapshot, list[Step]]:
    found = [each.found for each in rows if each.found is not None]
    waiting = frozenset(id(each.operation) for each in found)
    if not waiting:
        return now.tables, []
    state, since = _before(now.connection, waiting, applied)
    then = Moment.of(now.connection, state)
    return then.tables, list(_steps(then, since, lambda each, _: id(each) in waiting))


def _before(
    connection: BaseDatabaseWrapper, waiting: Set[int], recorded: Set[Key]
) -> tuple[ProjectState, list[Migration]]:
    """The models before the first applied migration with one of these operations, and it and those
    applied since."""
    executor = MigrationExecutor(connection)
    loader = executor.loader
    full = executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True)
    applied = [each for each, _ in full if (each.app_label, each.name) in recorded]
    first = next(
        number
        for number, each in enumerate(applied)
        if any(id(operation) in waiting for _, operation in walk(each.operations))
    )
    keys = [(each.app_label, each.name) for each in applied[:first]]
    return loader.project_state(keys), applied[first:]


def _running(alias: str, start: Snapshot) -> Code:
    identity = database_for(alias).identify()
    if (recorded := last_schema(identity.key, who_may_run(alias))) is not None:
        try:
            return Code(recorded[0], Snapshot.from_json(recorded[1]), is_old=True)
        except (KeyError, TypeError):
            pass  # damaged, or of another version of deploy_ops
    return Code(BEFORE_THE_PLAN, start, is_old=True)


def who_may_run(alias: str) -> Callable[[Release], bool]:
    """Whether a release can be the one that runs: a restore may have taken its migrations back."""
    if not (restores := restores_of(conf.state_dir, database_for(alias).identify().name)):
        return lambda release: True
    applied = MigrationRecorder(connections[alias]).applied_migrations().keys()

    def may_run(release: Release) -> bool:
        at, ends_with = times.moment(release.at), release.ends_with
        is_later = at is not None and at > restores[-1].at
        return is_later or (ends_with is not None and applied >= set(ends_with))

    return may_run


def _steps(moment: Moment, migrations: Iterable[Migration], waits: Waits) -> Iterator[Step]:
    """What migrations do to the tables."""
    for migration in migrations:
        moment = yield from _steps_of(moment, migration.app_label, migration.operations, waits)


def _steps_of(
    moment: Moment, app: str, operations: Iterable[Operation], waits: Waits
) -> Generator[Step, None, Moment]:
    """What operations of an app do; returns the moment after them."""
    for operation in operations:
        after = moment.after(operation, app)
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _steps_of(moment, app, operation.database_operations, waits)
        else:
            editor = moment.connection.schema_editor(collect_sql=True)
            change = Change(app, editor, moment.state, after.state)
            yield Step(moment.tables, after.tables, waits=waits(operation, change))
        moment = after
    return moment


def _will_wait(operation: Operation, change: Change) -> bool:
    """Whether a part of it will wait for the contract phase."""
    if not isinstance(operation, PhasedOperation) or run_together(change.connection, change.app):
        return False
    return operation.concerns(change) and operation.entry(change) is not None
