"""Django's autodetector, whose changes come out in two phases."""

# pylint: disable=protected-access  # it is made to be extended, and says so nowhere

from collections.abc import Iterable
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState

from deploy_ops.phases.generate.questions import questioner_for
from deploy_ops.phases.generate.rewrite import rewrite

Changes = dict[str, list[Migration]]


class TwoPhaseAutodetector(MigrationAutodetector):
    """As makemigrations uses it; raises NotInTwoPhases for what has no safe form."""

    def __init__(
        self,
        from_state: ProjectState,
        to_state: ProjectState,
        questioner: MigrationQuestioner | None = None,
    ) -> None:
        super().__init__(from_state, to_state, questioner_for(questioner))

    def changes(
        self,
        graph: MigrationGraph,
        trim_to_apps: Iterable[str] | None = None,
        convert_apps: Iterable[str] | None = None,
        migration_name: str | None = None,
    ) -> Changes:
        """Detect, keep what was asked for, rewrite, and name: only what is kept is judged."""
        detector: Any = self  # the stubs leave out how it works
        start = self.from_state.clone()  # Django 6 takes indexes of deleted models out of its own
        changes: Changes = detector._detect_changes(convert_apps, graph)
        if trim_to_apps:
            changes = detector._trim_to_apps(changes, trim_to_apps)
        changes = rewrite(changes, start)
        return self.arrange_for_graph(changes, graph, migration_name)
