"""Indexes and unique constraints whose removal waits: they are still there, and will go.

One of the same name would be taken for made, and then be dropped by the contract.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import (
    AddIndex,
    RemoveConstraint,
    RemoveIndex,
    RenameIndex,
)
from django.db.migrations.operations.base import Operation
from django.db.models import UniqueConstraint

from deploy_ops.errors import PlanRefused
from deploy_ops.phases.waiting import all_waiting
from deploy_ops.phases.where import Place


def check_indexes(connection: BaseDatabaseWrapper, who: str, names: Sequence[str]) -> None:
    """Raise PlanRefused where the removal of one of these names waits."""
    _check(who, names, _removed_indexes(connection) if names else {})


def check(operation: Operation, migration: str, removed: Mapping[str, Place]) -> None:
    """Raise PlanRefused where an operation makes one of the names that are to be removed."""
    _check(f"{migration}: {operation.describe()}", made_names(operation), removed)


def _check(who: str, names: Iterable[str], removed: Mapping[str, Place]) -> None:
    for name in names:
        if place := removed.get(name):
            raise still_there(who, name, place, "give the new one another name")


def _removed_indexes(connection: BaseDatabaseWrapper) -> Mapping[str, Place]:
    """The names whose removal waits."""
    found = ((each.row.place, each.found) for each in all_waiting(connection))
    names = {place: removed_name(each.operation) for place, each in found if each is not None}
    return {name: place for place, name in names.items() if name}


def removed_name(operation: Operation) -> str | None:
    """The name that a Contract removes, if it is one of an index or a constraint."""
    inner = getattr(operation, "operation", None)  # of Contract
    return inner.name if isinstance(inner, RemoveIndex | RemoveConstraint) else None


def made_names(operation: Operation) -> Iterator[str]:
    """The names of indexes that an operation makes, those of unique constraints among them."""
    if isinstance(operation, AddIndex):
        yield operation.index.name
    elif isinstance(operation, RenameIndex):
        yield operation.new_name
    # EnforceUnique calls it `unique`.
    constraint = getattr(operation, "constraint", getattr(operation, "unique", None))
    if isinstance(constraint, UniqueConstraint):
        yield constraint.name


def still_there(who: str, what: str, place: Place, instead: str) -> PlanRefused:
    """The error for a name that is to go: what is in the way, and what to do."""
    return PlanRefused(
        f"{who}: its removal ({place}) waits for the contract phase, and {what} is still there for "
        "the release before; the contract would drop it. Nothing was changed. Apply the "
        f"migrations up to {place.app}.{place.migration}, deploy, and run the contract phase "
        f"first; or {instead}."
    )
