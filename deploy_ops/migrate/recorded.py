"""What is recorded as done: migrations, and the contracts of their operations."""

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from deploy_ops.migrate.plan import Key
from deploy_ops.phases.rows import done_places
from deploy_ops.phases.where import Place


def recorded(connection: BaseDatabaseWrapper) -> set[Key]:
    """The keys of all steps whose work the database has recorded."""
    applied = MigrationRecorder(connection).applied_migrations()
    return set(applied) | {contract_key(place) for place in done_places(connection)}


def contract_key(place: Place) -> Key:
    """The key of the contract of an operation; no module of a migration has a # in its name."""
    return place.app, f"{place.migration}#{place.path}"


def is_contract(key: Key) -> bool:
    """Whether the key is that of a contract."""
    return "#" in key[1]
