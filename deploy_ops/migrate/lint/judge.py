"""The judgement of migrations before they run; nothing is changed, and nothing raised."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from deploy_ops.databases.facts import Facts
from deploy_ops.migrate.lint.finding import Finding, Place
from deploy_ops.migrate.lint.locks import findings_of
from deploy_ops.migrate.lint.old_code import old_code_remarks
from deploy_ops.migrate.lint.remarks import operation_remarks, unread
from deploy_ops.migrate.lint.scene import World
from deploy_ops.migrate.lint.source import source_of
from deploy_ops.migrate.lint.suppression import suppress
from deploy_ops.migrate.lint.transactions import transaction_findings
from deploy_ops.migrate.lint.walk import Deed, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """By which facts and rules migrations are judged; `unused` are tables that no release uses."""

    alias: str
    facts: Facts
    two_phase: bool = False
    unused: frozenset[str] = frozenset()

    def plan(
        self, migrations: Iterable[Migration], state: ProjectState, apps: tuple[str, ...] = ()
    ) -> list[Finding]:
        """Judge migrations that run one after the other; say only what is about these apps."""
        state, world = state.clone(), World(self.facts, created=set(self.unused))
        return [
            finding
            for migration in migrations
            for finding in self._one(migration, state, world)
            if not apps or migration.app_label in apps
        ]

    def each(self, migrations: Iterable[Migration], apps: tuple[str, ...] = ()) -> list[Finding]:
        """Judge each migration as if it ran alone on the tables of today."""
        state = ProjectState()
        return [
            finding
            for migration in migrations
            for finding in self._one(migration, state, World(self.facts))
            if not apps or migration.app_label in apps
        ]

    def _one(self, migration: Migration, state: ProjectState, world: World) -> list[Finding]:
        source, name = source_of(migration), f"{migration.app_label}.{migration.name}"
        found: list[Finding] = []
        deeds: list[Deed] = []
        for deed in walk(migration, state, connections[self.alias], world, source):
            found += self._deed(deed, migration, world)
            deeds.append(deed)
        if self.facts.server_version:
            place = Place(name, -1, source)
            found += transaction_findings(migration, deeds, world, place)
        return suppress(found, source, name)

    def _deed(self, deed: Deed, migration: Migration, world: World) -> Iterator[Finding]:
        if deed.error is not None:
            yield unread(deed.error).at(deed.place)
            return
        if self.facts.server_version and not deed.is_online:
            yield from findings_of(deed.impacts, deed.place, world)
            for remark in operation_remarks(deed.operation, deed.scene, migration.atomic):
                yield remark.at(deed.place)
        if self.two_phase:
            for remark in old_code_remarks(deed.operation, deed.scene):
                yield remark.at(deed.place)
