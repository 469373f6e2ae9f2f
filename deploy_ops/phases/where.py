"""Which operation of which migration this is: Django's operations are not told.

The operations of a migration stand in a list of its class, in a module that is imported; an
operation is found there by its identity. So nothing of Django is patched.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.writer import OperationWriter

from deploy_ops.errors import OperationNotFound


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operation stands: `path` is its index, and below one that holds others theirs."""

    app: str
    migration: str
    path: str

    def __str__(self) -> str:
        return f"{self.app}.{self.migration}#{self.path}"


def find_place(operation: Operation, app: str) -> Place:
    """Find the migration of an app that holds an operation; raises OperationNotFound."""
    for name, migration in _migrations(app):
        for path, each in walk(migration.operations):
            if each is operation:
                return Place(app, name, path)
    raise OperationNotFound(
        f"{operation.describe()}: the operation stands in no migration file of {app}. A row that "
        "waits for the contract phase names its migration, so that a later run finds it. Nothing "
        "was changed. Write the operation into the list `operations` of a migration."
    )


def find_operation(place: Place) -> Operation | None:
    """The operation that stands at a place, in the code that runs."""
    migration = dict(_migrations(place.app)).get(place.migration)
    return dict(walk(migration.operations)).get(place.path) if migration else None


def place_of(name: str) -> Place | None:
    """The place that is written `app.migration#path`."""
    found = re.fullmatch(r"(?P<app>\w+)\.(?P<migration>\w+)#(?P<path>[\d.]+)", name)
    return Place(**found.groupdict()) if found else None


def source(operation: Operation) -> str:
    """An operation as a migration file has it."""
    return str(OperationWriter(operation, indentation=0).serialize()[0])


def walk(operations: Iterable[Operation], above: str = "") -> Iterator[tuple[str, Operation]]:
    """Every operation with its path, those that another one does on the database included."""
    for index, operation in enumerate(operations):
        path = f"{above}{index}"
        yield path, operation
        yield from walk(getattr(operation, "database_operations", ()), f"{path}.")


def _migrations(app: str) -> Iterator[tuple[str, type[Migration]]]:
    package, _ = MigrationLoader.migrations_module(app)
    for name, module in list(sys.modules.items()):
        found = getattr(module, "Migration", None)
        if name.startswith(f"{package}.") and isinstance(found, type):
            yield name.removeprefix(f"{package}."), found
