"""Going back to where an older release ends: what is undone, and what that would lose.

Only what is in the database now counts: values that a migration has replaced or dropped long ago
are not brought back by undoing it, and where they are needed, that is an obstacle too.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from deploy_ops.databases import Database, database_for
from deploy_ops.errors import PlanRefused
from deploy_ops.migrate.history import DjangoPlan, History, Todo
from deploy_ops.migrate.loss import has_rows, loss_by
from deploy_ops.migrate.plan import Plan, Step, effects_after, make_plan
from deploy_ops.migrate.reversal import (
    Effect,
    NewTable,
    Reversal,
    WiderColumn,
    reversal_at_once,
    reversal_of,
)
from deploy_ops.migrate.run import Request, Target
from deploy_ops.migrate.way_back import done
from deploy_ops.phases.operations.base import PhasedOperation
from deploy_ops.phases.rows import done_places, waiting_rows
from deploy_ops.phases.snapshot import Snapshot
from deploy_ops.phases.waiting import all_waiting, doubled_by
from deploy_ops.phases.where import Place

WHY = {
    Reversal.IRREVERSIBLE: "it cannot be reversed",
    Reversal.LOSSY: "reversing it does not bring back the data that it removed, or what it removes "
    "is not known",
}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why undoing would lose something, or cannot be; `what` is a migration, and an operation."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}."


def todo_back(history: History, targets: Sequence[Target]) -> Todo:
    """What undoes all that is applied after the targets, newest first.

    Raises PlanRefused where a target is no migration of this code, or is not applied itself.
    """
    executor = history.executor
    graph, applied = executor.loader.graph, executor.loader.applied_migrations
    targets = [_squashed(graph, target) for target in targets]
    for target in targets:
        if target[1] is not None and (target not in graph.nodes or target not in applied):
            state = "is not applied" if target in graph.nodes else "is no migration of this code"
            raise PlanRefused(
                f"{target[0]}.{target[1]} {state}, so nothing can be undone down to it. Nothing "
                "was changed."
            )
    plan: DjangoPlan = executor.migration_plan(targets)
    forwards = [migration for migration, _ in reversed(plan)]
    steps = make_plan([(each, False) for each in forwards], _state_before(history, forwards)).steps
    undone = tuple(replace(step, backwards=True) for step in reversed(steps))
    return Todo(history, plan, Plan(undone, is_way_back=True))


def _squashed(graph: MigrationGraph, target: Target) -> Target:
    """The migration that ends where the target does, if it took over that and those before."""
    for key, node in graph.nodes.items():
        own = [each for each in (node.replaces if node else ()) if each[0] == target[0]]
        if target not in graph.nodes and own and tuple(own[-1]) == target:
            return key
    return target


def obstacles(alias: str, todo: Todo, needs: Snapshot) -> list[Obstacle]:
    """Why it would lose something, as far as it can be told beforehand.

    `needs` is what the older release needs of the schema. While it is done, all rows are looked
    at again, behind locks.
    """
    forwards = [migration for migration, _ in reversed(todo.migrations)]
    steps = todo.plan.steps[::-1]
    return [
        *_of_operations(alias, forwards, _state_before(todo.history, forwards)),
        *_of_contracts(alias, steps),
        *_of_copies(alias, todo),
        *_of_steps(steps),
        *_of_values(alias, effects_after(steps), needs),
    ]


def refuse_loss(request: Request, todo: Todo, needs: Snapshot) -> None:
    """Raise PlanRefused where it would lose something by now; call it with the deploy lock.

    Whoever decided did so before the lock: others may have migrated, or written, while it waited.
    """
    if found := obstacles(request.alias, todo, needs):
        listed = "\n".join(f"- {each}" for each in found)
        raise PlanRefused(
            f"This has changed since it was decided what to undo:\n{listed}\nNothing was "
            f"changed. Run it again, to decide by what is there now:\n{request.again()}"
        )


def _state_before(history: History, undone: Iterable[Migration]) -> ProjectState:
    loader = history.executor.loader
    later = {(each.app_label, each.name) for each in undone}
    keys = [key for key in loader.applied_migrations if key in loader.graph.nodes]
    return loader.project_state([key for key in keys if key not in later])


def _of_operations(
    alias: str, migrations: Iterable[Migration], state: ProjectState
) -> Iterator[Obstacle]:
    database = database_for(alias)
    connection = database.connection
    # What it would take has not been taken yet, or is looked at by _of_contracts.
    with_row = {row.place for row in waiting_rows(connection)} | done_places(connection)
    for place, operation, before in _operations(migrations, state):
        if place in with_row:
            continue
        cost = _cost(operation, place.app, before)
        what = f"{place} ({operation.describe()})"
        if cost in WHY:
            yield Obstacle(what, WHY[cost])
        elif cost is Reversal.UNPROVEN and not database.counts_rows:
            yield Obstacle(what, "what the reverse of its code does to rows cannot be told here")


def _cost(operation: Operation, app: str, before: ProjectState) -> Reversal:
    is_phased = isinstance(operation, PhasedOperation)
    return (reversal_at_once if is_phased else reversal_of)(operation, app, before)


def _operations(
    migrations: Iterable[Migration], state: ProjectState
) -> Iterator[tuple[Place, Operation, ProjectState]]:
    """What reaches the database, with its place and the models before it."""
    for migration in migrations:
        yield from _below(
            migration.operations, Place(migration.app_label, migration.name, ""), state
        )


def _below(
    operations: Iterable[Operation], above: Place, state: ProjectState
) -> Iterator[tuple[Place, Operation, ProjectState]]:
    for index, operation in enumerate(operations):
        place = replace(above, path=f"{above.path}{index}")
        if isinstance(operation, SeparateDatabaseAndState):
            inner = replace(above, path=f"{place.path}.")
            yield from _below(operation.database_operations, inner, state.clone())
        else:
            yield place, operation, state
        operation.state_forwards(above.app, state)


def _of_contracts(alias: str, steps: Iterable[Step]) -> Iterator[Obstacle]:
    for each in done(alias, [step.key for step in steps]):
        if not each.is_lossless:
            yield Obstacle(f"{each.row.place} ({each.row.description})", str(each))


def _of_copies(alias: str, todo: Todo) -> Iterator[Obstacle]:
    connection, loader = connections[alias], todo.history.executor.loader
    undone = {step.key for step in todo.plan.steps}
    for each in all_waiting(connection):
        doubled = doubled_by(connection, loader, each) if each.key in undone else None
        if doubled and doubled.has_more(connection):
            yield Obstacle(f"{each.row.place} ({each.row.description})", str(doubled))


def _of_steps(steps: Iterable[Step]) -> Iterator[Obstacle]:
    for step in steps:
        is_harmless = step.indexes is not None or (step.is_idempotent and not step.effects)
        if not step.is_atomic and not is_harmless:
            yield Obstacle(
                str(step),
                "it runs without a transaction, so that others could write between a look at the "
                "rows and what drops them",
            )


def _of_values(alias: str, effects: Iterable[Effect], needs: Snapshot) -> Iterator[Obstacle]:
    database = database_for(alias)
    for effect in effects:
        column = None if isinstance(effect, NewTable) else effect.column
        is_wider = isinstance(effect, WiderColumn)
        what = f"{effect.table}.{column}" if column else effect.table
        known = needs.tables.get(effect.table)
        if column not in columns_of(database, effect.table):
            yield Obstacle(what, "it is not there any more under this name")
        elif known and (column is None or column in known.columns) and not is_wider:
            yield Obstacle(what, "it would be dropped, and the older release needs it")
        elif lost := loss_by(database.connection, effect):
            yield Obstacle(what, lost.rstrip("."))


def columns_of(database: Database, table: str) -> set[str | None]:
    """The columns of a table, and None for the table itself; empty where it is not there."""
    if not database.has_table(table):
        return set()
    connection = database.connection
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, table)
    return {None, *(each.name for each in described)}


def tables_to_keep(alias: str, todo: Todo) -> list[str]:
    """Tables that would be dropped and have rows, which are copied to a kept table first."""
    database = database_for(alias)
    new = [each for each in effects_after(todo.plan.steps[::-1]) if isinstance(each, NewTable)]
    there = [each.table for each in new if database.has_table(each.table)]
    return [table for table in there if has_rows(database.connection, table, "1 = 1")]
