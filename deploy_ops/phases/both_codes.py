"""Whether the release that runs and the one to come both work once a plan has run.

The release that runs is known by what was recorded when it was released; without that record it
is taken to be what the migrations before the plan say. Call it before anything is applied.
"""

from collections.abc import Generator, Iterable, Iterator

from django.apps import apps
from django.apps.registry import Apps
from django.core.checks import CheckMessage
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from deploy_ops.history import last_schema
from deploy_ops.phases.between import Step, schema_between
from deploy_ops.phases.compat import Code, compat_findings
from deploy_ops.phases.halves import run_together
from deploy_ops.phases.operations.base import Change, PhasedOperation
from deploy_ops.phases.snapshot import Snapshot, take_snapshot
from deploy_ops.version import code_version

BEFORE_THE_PLAN = "before these migrations"


def plan_findings(
    connection: BaseDatabaseWrapper,
    state: ProjectState,
    migrations: Iterable[Migration],
    new_models: Apps = apps,
) -> list[CheckMessage]:
    """Say what of either release fails after the migrations, which follow upon `state`."""
    start = take_snapshot(state.apps, connection)
    new = Code(code_version(), take_snapshot(new_models, connection), is_old=False)
    between = schema_between(start, list(_steps(connection, state, start, migrations)))
    return compat_findings(_running(connection.alias, start), new, between)


def _running(alias: str, start: Snapshot) -> Code:
    if (recorded := last_schema(alias)) is not None:
        try:
            return Code(recorded[0], Snapshot.from_json(recorded[1]), is_old=True)
        except (KeyError, TypeError):
            pass  # damaged, or of another version of deploy_ops
    return Code(BEFORE_THE_PLAN, start, is_old=True)


def _steps(
    connection: BaseDatabaseWrapper,
    state: ProjectState,
    there: Snapshot,
    migrations: Iterable[Migration],
) -> Iterator[Step]:
    """What the migrations do to the database; `there` is the snapshot of `state`."""
    for migration in migrations:
        operations = migration.operations
        state, there = yield from _steps_of(
            connection, state, there, migration.app_label, operations
        )


def _steps_of(
    connection: BaseDatabaseWrapper,
    state: ProjectState,
    there: Snapshot,
    app: str,
    operations: Iterable[Operation],
) -> Generator[Step, None, tuple[ProjectState, Snapshot]]:
    """What operations of an app do; returns the state after them, and its snapshot."""
    for operation in operations:
        after = state.clone()  # takes over the models that were made for the snapshot
        operation.state_forwards(app, after)
        seen = take_snapshot(after.apps, connection)
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _steps_of(connection, state, there, app, operation.database_operations)
        else:
            change = Change(app, connection.schema_editor(collect_sql=True), state, after)
            yield Step(there, seen, waits=_waits(operation, change))
        state, there = after, seen
    return state, there


def _waits(operation: Operation, change: Change) -> bool:
    """Whether a part of it will wait for the contract phase."""
    if not isinstance(operation, PhasedOperation) or run_together(change.connection, change.app):
        return False
    return operation.concerns(change) and operation.entry(change) is not None
