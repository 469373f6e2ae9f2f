"""What a migration on disk becomes: the files that take its place, read back before they count."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter

from deploy_ops.errors import NotInTwoPhases
from deploy_ops.phases.generate.fix.division import Division, divide, is_detected
from deploy_ops.phases.generate.fix.files import files_of
from deploy_ops.phases.generate.fix.pending import Pending
from deploy_ops.phases.generate.fix.source import NotRewritable
from deploy_ops.phases.generate.forms import safe_form
from deploy_ops.phases.generate.rewrite import created
from deploy_ops.phases.generate.scene import Scene, judging_connection

SAFE = "it needs nothing"
ELSEWHERE = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Left:
    """A migration that stays as it is, and why."""

    app: str
    name: str
    why: str

    @property
    def is_safe(self) -> bool:
        """Whether there is nothing to do for it."""
        return self.why == SAFE


@dataclass(frozen=True)
class Fixed:
    """A migration in its safe form: the texts of its files, its own the last one."""

    app: str
    name: str
    texts: Mapping[Path, str]
    operations: tuple[str, ...]


def judge_pending(labels: Collection[str]) -> Iterator[Fixed | Left]:
    """Judge each migration that no database has applied; raises DatabaseUnavailable.

    All of them are taken for one release: what waits in the database until its contract phase,
    and which tables are new, follows from that.
    """
    pending = Pending()
    walk = Walk(pending)
    for migration in pending.plan():
        if _is_asked_for(migration.app_label, labels):
            yield _judge(migration, walk.through(migration), pending)
        else:
            walk.past(migration)


class Walk:
    """The models before and after each operation, from what is applied on."""

    def __init__(self, pending: Pending) -> None:
        self.start = pending.start()
        self.state = self.start.clone()
        plan = pending.plan()
        changes = {app: [each for each in plan if each.app_label == app] for app in _apps(plan)}
        self.new_models = frozenset(created(changes)) - frozenset(self.start.models)
        self.connection = judging_connection()

    def through(self, migration: Migration) -> Division | str:
        """The safe form, in the migrations that it needs; or why there is none."""
        before_all = self.state.clone()
        formed: list[tuple[Operation, tuple[Operation, ...], Scene]] = []
        refused = ""
        for operation in migration.operations:
            before, self.state = self.state, self.state.clone()
            operation.state_forwards(migration.app_label, self.state)
            scene = self._scene(migration.app_label, before)
            try:
                formed.append((operation, tuple(_form(operation, scene)), scene))
            except NotInTwoPhases as error:
                why = str(error).replace("Nothing was written.", "It stays as it is.")
                refused = refused or why
        if refused:
            return refused
        if migration.replaces:
            return "it is a squashed migration"
        division = divide(migration, formed)
        if not _is_same(before_all, division, migration.app_label, self.state):
            return "its safe form would lead to other models than it does"
        return division

    def past(self, migration: Migration) -> None:
        """Take over what a migration does to the models, whatever its form."""
        self.state = migration.mutate_state(self.state, preserve=False)

    def _scene(self, app: str, before: ProjectState) -> Scene:
        return Scene(app, self.start, before, self.state, self.new_models, self.connection)


def _apps(plan: Sequence[Migration]) -> set[str]:
    return {each.app_label for each in plan}


def _form(operation: Operation, scene: Scene) -> Any:
    """What Django detects has a safe form; what was written by hand, or is safe, stays."""
    return safe_form(operation, scene) if is_detected(operation) else [operation]


def _is_same(state: ProjectState, division: Division, app: str, expected: ProjectState) -> bool:
    for group in division.groups:
        for operation in group.operations:
            operation.state_forwards(app, state)
    return bool(state.models == expected.models)


def _judge(migration: Migration, form: Division | str, pending: Pending) -> Fixed | Left:
    app, name = migration.app_label, migration.name
    if isinstance(form, str):
        return Left(app, name, form)
    if _is_unchanged(migration, form):
        return Left(app, name, SAFE)
    path = Path(MigrationWriter(migration).path)
    parts = pending.part_names(migration, len(form.groups) - 1)
    try:
        texts = files_of(migration, form, path, parts)
    except NotRewritable as error:
        return Left(app, name, f"{error}; write by hand what lint_migrations advises")
    described = tuple(
        operation.formatted_description() for group in form.groups for operation in group.operations
    )
    return Fixed(app, name, texts, described)


def _is_unchanged(migration: Migration, form: Division) -> bool:
    if len(form.groups) != 1:
        return False
    [group] = form.groups
    same = [id(each) for each in group.operations] == [id(each) for each in migration.operations]
    return same and group.atomic == migration.atomic


def _is_asked_for(app: str, labels: Collection[str]) -> bool:
    """The apps that were named, else those of the project; never what is installed."""
    config = apps.get_app_config(app)
    if config.name == "deploy_ops" or set(ELSEWHERE) & set(Path(config.path).parts):
        return False
    return not labels or app in labels
