"""What waits for the contract phase, with the operation that the code has for it, and its run."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from deploy_ops.phases.operations.base import Change, PhasedOperation, WaitingOperation
from deploy_ops.phases.operations.doubled import Doubled
from deploy_ops.phases.rows import Row, done_rows, mark_done, waiting_rows
from deploy_ops.phases.where import Place, source, walk

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The operation of a row: in its migration, or in the squashed one that took it over."""

    operation: WaitingOperation
    place: Place
    is_atomic: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row; `found` is None where the running code does not know its migration.

    The same is said of rows whose contract has run (`all_done`).
    """

    row: Row
    found: Found | None

    @property
    def key(self) -> Key:
        """The migration that it is of."""
        return self.row.place.app, self.row.place.migration

    @property
    def is_atomic(self) -> bool:
        """Whether one transaction can hold the contract."""
        return self.found is not None and self.found.is_atomic

    @property
    def is_idempotent(self) -> bool:
        """Whether it may be run again after it failed half-way."""
        return self.found is not None and self.found.operation.is_idempotent

    @property
    def comes_later(self) -> bool:
        """Whether it goes after what would block it; else the oldest goes first."""
        is_first = self.found is not None and self.found.operation.is_first
        return not is_first or bool(self.row.waits_for)

    @property
    def frees_table(self) -> bool:
        """Whether it drops what blocks the other rows of its table."""
        if self.found is None or self.row.waits_for:
            return False
        return self.found.operation.frees_table


def all_waiting(connection: BaseDatabaseWrapper) -> list[Waiting]:
    """What waits, in the order in which it has to run: per table what frees it first."""
    rows = waiting_rows(connection)
    if not rows:
        return []
    loader = MigrationLoader(connection)
    found = [Waiting(row, _find(loader, row)) for row in rows]
    return sorted(found, key=lambda each: each.comes_later)


def all_done(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> list[Waiting]:
    """What has run, oldest first."""
    return [Waiting(row, _find(loader, row)) for row in done_rows(connection)]


def has_way_back(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, done: Waiting
) -> bool | None:
    """Whether reversing what has run brings the values back; None where nothing can tell."""
    if done.found is None:
        return None
    editor = connection.schema_editor(collect_sql=True, atomic=False)
    loses = done.found.operation.loses(change_of(loader, editor, done))
    return None if loses is None else not loses


def doubled_by(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, waiting: Waiting
) -> Doubled | None:
    """The column that undoing what waits would drop; None where it drops none."""
    if waiting.found is None or not isinstance(waiting.found.operation, PhasedOperation):
        return None
    editor = connection.schema_editor(collect_sql=True, atomic=False)
    return waiting.found.operation.doubled(change_of(loader, editor, waiting))


def run_contract(connection: BaseDatabaseWrapper, waiting: Waiting) -> None:
    """Run the contract of a row, and note that it has run."""
    assert waiting.found is not None
    with connection.schema_editor(atomic=waiting.is_atomic) as editor:
        do_contract(waiting, change_of(MigrationLoader(connection), editor, waiting))
    mark_done(connection, waiting.row.place)


def do_contract(waiting: Waiting, change: Change) -> None:
    """Do what was put off, or collect it: all of the operation, or its second half."""
    assert waiting.found is not None
    operation = waiting.found.operation
    work = operation.catch_up if waiting.row.waits_for else operation.contract
    work(change)


def change_of(
    loader: MigrationLoader, editor: BaseDatabaseSchemaEditor, waiting: Waiting
) -> Change:
    """The operation of a row at work, on the table that the row is about."""
    assert waiting.found is not None
    operation, place = waiting.found.operation, waiting.found.place
    before = state_before(loader, place)
    if operation.follows_table:
        _rename_table(before, place.app, operation.subject, waiting.row.table)
    after = before.clone()
    operation.state_forwards(place.app, after)
    return Change(place.app, editor, before, after)


def _find(loader: MigrationLoader, row: Row) -> Found | None:
    """The operation of a row; it must be the same in the code that runs as where it was noted."""
    for migration in _migrations_with(loader, row.place):
        same = [
            Place(migration.app_label, migration.name, path)
            for path, each in walk(migration.operations)
            if isinstance(each, WaitingOperation) and source(each) == row.operation
        ]
        own = [place for place in same if place == row.place]
        if len(own or same) == 1:
            (place,) = own or same
            operation = dict(walk(migration.operations))[place.path]
            assert isinstance(operation, WaitingOperation)
            is_atomic = operation.contract_is_atomic
            return Found(operation, place, migration.atomic if is_atomic is None else is_atomic)
    return None


def _migrations_with(loader: MigrationLoader, place: Place) -> Iterator[Migration]:
    """The migration of a row and the squashed ones instead of it, if they are in the graph."""
    keys = {(place.app, place.migration)}
    disk = loader.disk_migrations or {}
    while True:
        more = {key for key, each in disk.items() if keys & set(map(tuple, each.replaces))}
        if more <= keys:
            break
        keys |= more
    for key in sorted(keys):
        if key in loader.graph.nodes and key in loader.applied_migrations:
            yield loader.graph.nodes[key]


def state_before(loader: MigrationLoader, place: Place) -> ProjectState:
    """The models right before an operation of an applied migration."""
    key = (place.app, place.migration)
    state = loader.project_state(key, at_end=False)
    operations = loader.graph.nodes[key].operations
    for index in place.path.split("."):
        for each in operations[: int(index)]:
            each.state_forwards(place.app, state)
        operations = getattr(operations[int(index)], "database_operations", [])
    return state


def _rename_table(state: ProjectState, app: str, model: str | None, table: str | None) -> None:
    """Let a model of an old state have the table that the row is about, whatever it is called."""
    if model is not None and table is not None:
        state.models[app, model.lower()].options["db_table"] = table
