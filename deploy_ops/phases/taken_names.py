"""Fields whose removal waits: their columns are still there, for the release before."""

from collections.abc import Iterable, Iterator

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField, AlterField, RemoveField, RenameField
from django.db.migrations.operations.base import Operation

from deploy_ops.errors import PlanRefused
from deploy_ops.phases import taken_indexes
from deploy_ops.phases.halves import run_together
from deploy_ops.phases.operations.rename_field_online import RenameFieldOnline
from deploy_ops.phases.rows import Row
from deploy_ops.phases.waiting import Found, all_waiting, state_before
from deploy_ops.phases.where import Place, walk

Name = tuple[str, str, str]


def check_names(connection: BaseDatabaseWrapper, migrations: Iterable[Migration]) -> None:
    """Raise PlanRefused where one adds a field or index whose removal waits, or would by then.

    Also where one gives a default to a field that has a second column for its new name: what old
    code writes to the first one would be written over by it.
    """
    taken: dict[Name, Place] = {}
    shadows: set[Name] = set()
    indexes: dict[str, Place] = {}
    for row, found in _known(connection):
        if index := taken_indexes.removed_name(found.operation):
            indexes[index] = row.place
        if removed := _removed(found.operation, row.place.app):
            taken[removed] = row.place
        if renamed := _renamed(found.operation, row.place.app):
            shadows.add(renamed)
    for migration in migrations:
        app = migration.app_label
        for path, each in walk(migration.operations):
            _check_default(f"{app}.{migration.name}", app, each, shadows)
            if place := taken.get(_added(each, app) or ("", "", "")):
                raise _still_there(f"{app}.{migration.name}", each, place)
            taken_indexes.check(each, f"{app}.{migration.name}", indexes)
            index = taken_indexes.removed_name(each)
            removed, renamed = _removed(each, app), _renamed(each, app)
            if not (index or removed or renamed) or run_together(connection, app):
                continue
            if index:
                indexes[index] = Place(app, migration.name, path)
            if removed:
                taken[removed] = Place(app, migration.name, path)
            if renamed:
                shadows.add(renamed)


def _known(connection: BaseDatabaseWrapper) -> Iterator[tuple[Row, Found]]:
    """What waits, with its operation, which may stand in a squashed migration by now."""
    return ((each.row, each.found) for each in all_waiting(connection) if each.found is not None)


def _check_default(who: str, app: str, operation: Operation, shadows: set[Name]) -> None:
    if not isinstance(operation, AlterField) or not operation.field.has_db_default():
        return
    if (app, *_names(operation, operation.name)) in shadows:
        raise PlanRefused(
            f"{who}: {operation.describe()}: its rename waits for the contract phase, and until "
            "then the default would be written over what old code writes under the old name. "
            "Nothing was changed. Apply the migrations before this one, deploy, and run the "
            f"contract phase first; or write Contract(...) around the {type(operation).__name__}."
        )


def _still_there(who: str, operation: Operation, place: Place) -> PlanRefused:
    subject = f"{who}: {operation.describe()}"
    instead = "give the new field another name, or a db_column"
    return taken_indexes.still_there(subject, "the column", place, instead)


def _removed(operation: Operation, app: str) -> Name | None:
    inner = getattr(operation, "operation", None)  # of Contract
    return (
        (app, inner.model_name_lower, inner.name_lower) if isinstance(inner, RemoveField) else None
    )


def _renamed(operation: Operation, app: str) -> Name | None:
    if not isinstance(operation, RenameFieldOnline):
        return None
    return app, *_names(operation, operation.new_name)


def _added(operation: Operation, app: str) -> Name | None:
    if isinstance(operation, AddField):
        return None if operation.field.db_column else (app, *_names(operation, operation.name))
    if isinstance(operation, RenameField):
        return (app, *_names(operation, operation.new_name))
    return None


def _names(operation: AddField | AlterField | RenameField, name: str) -> tuple[str, str]:
    return operation.model_name_lower, name.lower()


def check_column(
    connection: BaseDatabaseWrapper, app: str, operation: AddField, table: str, column: str
) -> None:
    """Raise PlanRefused where the removal of the very column waits, whatever its field was called.

    A foreign key `customer` has the column `customer_id`.
    """
    if place := removed_columns(connection).get((table, column)):
        raise _still_there(app, operation, place)


def removed_columns(connection: BaseDatabaseWrapper) -> dict[tuple[str, str], Place]:
    """Columns whose removal waits, by the name that their table has now."""
    columns = {}
    loader: MigrationLoader | None = None
    for row, found in _known(connection):
        if row.table and (name := _removed(found.operation, row.place.app)):
            loader = loader or MigrationLoader(connection)
            model = state_before(loader, found.place).apps.get_model(*name[:2])
            field = model._meta.get_field(name[2])
            columns[row.table, str(getattr(field, "column", None))] = row.place
    return columns
