"""Which migrations on disk no configured database has applied."""

import re
from collections.abc import Sequence
from itertools import count as count_from
from itertools import islice

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from deploy_ops.errors import DatabaseUnavailable
from deploy_ops.redact import server_text

Key = tuple[str, str]
PART = re.compile(r"(?P<whole>\w+)_part\d+")


class Pending:
    """The migrations that no database has applied, and the models before the first of them."""

    def __init__(self) -> None:
        self.loader = MigrationLoader(None, ignore_no_migrations=True)
        self.graph = self.loader.graph
        applied = {key for alias in connections for key in applied_in(alias)}
        self.keys = {key for key in self.graph.nodes if not self._is_applied(key, applied)}
        self.leftovers = {key for key in self.keys if self._is_leftover(key)}

    def plan(self) -> Sequence[Migration]:
        """The pending ones in the order in which they are applied, without leftovers."""
        leaves = [key for key in self.graph.leaf_nodes() if key not in self.leftovers]
        # pylint: disable-next=protected-access  # what the loader itself asks for states
        plan = self.graph._generate_plan(leaves, True)
        return [self.graph.nodes[key] for key in plan if key in self.keys]

    def part_names(self, migration: Migration, count: int) -> list[str]:
        """Names for migrations to stand before one: of no file but what a killed run has left.

        One that was rewritten before, and changed since, has parts already, which stay.
        """
        app, name = migration.app_label, migration.name
        taken = set(self.loader.disk_migrations or ()) - self.leftovers
        names = (f"{name}_part{number}" for number in count_from(1))
        return list(islice((each for each in names if (app, each) not in taken), count))

    def start(self) -> ProjectState:
        """The models of what is applied."""
        applied = [key for key in self.graph.nodes if key not in self.keys]
        state: ProjectState = self.loader.project_state(applied)
        return state

    def _is_applied(self, key: Key, applied: set[Key]) -> bool:
        replaces = self.graph.nodes[key].replaces
        return key in applied or any(each in applied for each in replaces)

    def _is_leftover(self, key: Key) -> bool:
        """Whether it is a part that a killed run has written, on which nothing depends yet."""
        found = PART.fullmatch(key[1])
        if found is None or (key[0], found["whole"]) not in self.keys:
            return False
        children = {child.key for child in self.graph.node_map[key].children}
        return all(self._is_leftover(child) for child in children)


def applied_in(alias: str) -> set[Key]:
    """What a database has applied; raises DatabaseUnavailable if it cannot be asked."""
    try:
        return set(MigrationRecorder(connections[alias]).applied_migrations())
    except (DatabaseError, ImproperlyConfigured) as error:
        raise DatabaseUnavailable(
            f"Database {alias} cannot be asked which migrations it has applied: "
            f"{server_text(str(error)).strip()}\n"
            "A migration that is applied somewhere must not change, since that database would "
            "never run what is new in it. Nothing was written. Make the database reachable, or "
            "take it out of DATABASES for this command."
        ) from error
