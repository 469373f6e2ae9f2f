"""Whether the two halves of an operation run at once, or the second one waits for the contract.

They run at once where no old code can be at work: on SQLite, where the project has no two phases
(DEPLOY_OPS_TWO_PHASE), and in an app none of whose migrations was applied before this run.
"""

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from deploy_ops.conf import conf

_applied_before: "WeakKeyDictionary[BaseDatabaseWrapper, frozenset[str]]" = WeakKeyDictionary()


def note_start(using: str, **_: Any) -> None:
    """Receive pre_migrate: remember which apps had migrations before the run."""
    connection = connections[using]
    note_applied(connection, MigrationRecorder(connection).applied_migrations())


def note_applied(connection: BaseDatabaseWrapper, applied: Iterable[tuple[str, str]]) -> None:
    """Remember them for a run that begins; an earlier one of this process may have found others."""
    _applied_before[connection] = frozenset(app for app, _ in applied)


def run_together(connection: BaseDatabaseWrapper, app: str) -> bool:
    """Whether both halves of an operation of this app run now."""
    return not conf.two_phase or runs_alone(connection, app)


def runs_alone(connection: BaseDatabaseWrapper, app: str) -> bool:
    """Whether no other code can be at work on the tables of this app: SQLite, or a new app."""
    if connection.vendor != "postgresql":
        return True
    before = _applied_before.get(connection)
    if before is None:
        before = frozenset(each for each, _ in MigrationRecorder(connection).applied_migrations())
    return app not in before
