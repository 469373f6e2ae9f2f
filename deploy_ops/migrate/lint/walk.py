"""The way through a migration: each operation with the models before and after it."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, SeparateDatabaseAndState
from django.db.migrations.operations import RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from deploy_ops.migrate.lint.finding import Place
from deploy_ops.migrate.lint.impact import Impact
from deploy_ops.migrate.lint.nobodys import is_nobodys
from deploy_ops.migrate.lint.operations import impacts_of, is_online
from deploy_ops.migrate.lint.scene import Scene, World
from deploy_ops.migrate.lint.source import Source


@dataclass(frozen=True, slots=True)
class Deed:
    """An operation that reaches the database, with what it does, or why that could not be read."""

    operation: Operation
    place: Place
    scene: Scene
    impacts: tuple[Impact, ...]
    error: Exception | None = None

    @property
    def is_online(self) -> bool:
        """Whether it says of itself that nobody waits for it."""
        return is_online(self.operation)


def walk(
    migration: Migration,
    state: ProjectState,
    connection: BaseDatabaseWrapper,
    world: World,
    source: Source,
) -> Iterator[Deed]:
    """Go through one migration, and bring `state` behind it.

    A scene is good until the next deed is asked for: the state moves on.
    """
    name = f"{migration.app_label}.{migration.name}"
    for index, operation in enumerate(migration.operations):
        place = Place(name, index, source, operation)
        step = _Step(migration.app_label, connection, world, place, migration.atomic)
        yield from step.go(operation, state)


@dataclass(frozen=True, slots=True)
class _Step:
    app_label: str
    connection: BaseDatabaseWrapper
    world: World
    place: Place
    is_atomic: bool

    def go(self, operation: Operation, state: ProjectState) -> Iterator[Deed]:
        """One operation, or those that a separate state hides."""
        if is_nobodys(operation, self.app_label, state, self.world):
            vars(state).pop("apps", None)  # or each such operation would render models anew
            operation.state_forwards(self.app_label, state)
            return
        if not isinstance(operation, RunPython | RunSQL):  # whose rules seldom ask for models
            _ = state.apps  # rendered before, as Django does, so that operations share it
        before = state.clone()
        if isinstance(operation, SeparateDatabaseAndState):
            # The database operations start from a state of their own, as Django runs them.
            for each in operation.database_operations:
                yield from self.go(each, before)
            operation.state_forwards(self.app_label, state)
            return
        operation.state_forwards(self.app_label, state)
        scene = Scene(
            self.app_label,
            (before, state),
            self.connection,
            self.world,
            self.is_atomic,
        )
        try:
            impacts = () if is_online(operation) else tuple(impacts_of(operation, scene))
        except Exception as error:  # pylint: disable=broad-exception-caught  # no reason to stop
            yield Deed(operation, self.place, scene, (), error)
        else:
            yield Deed(operation, self.place, scene, impacts)
