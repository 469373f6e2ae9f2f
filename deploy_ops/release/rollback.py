"""What the way back to an older release takes, decided by facts: code alone, migrations, a backup.

Only the newer release can tell, and can undo: the older one lacks the migrations that came after
it. What the older one needs was recorded when it was released.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.core.checks import ERROR, CheckMessage
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from deploy_ops.advice import manage
from deploy_ops.audit import restores_of
from deploy_ops.backup.catalog import complete_backups, find_backup
from deploy_ops.backup.entry import Backup
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import BackupNotFound, PlanRefused, ReleaseRefused, RestoreRefused
from deploy_ops.history import Release, release_of, released_versions, schema_of
from deploy_ops.migrate.backwards import Obstacle, obstacles, tables_to_keep, todo_back
from deploy_ops.migrate.history import History, Todo
from deploy_ops.migrate.other_migrate import refuse_other_migrate
from deploy_ops.migrate.run import Target
from deploy_ops.migrate.targets import ensure_connection, load_executor
from deploy_ops.phases.both_codes import expected_schema, findings_of, findings_then
from deploy_ops.phases.compat import Code
from deploy_ops.phases.rows import done_rows
from deploy_ops.phases.snapshot import Snapshot
from deploy_ops.release.by_hand import BY_HAND, gone_by_hand
from deploy_ops.release.lineage import is_of_this_past
from deploy_ops.version import code_version

Key = tuple[str, str]
# Its tables serve releases before it too, and hold what a way back is decided by.
OURS = "deploy_ops"


class Decision(StrEnum):
    """What a way back takes."""

    CODE_ONLY = "code_only"
    REVERSE = "reverse"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """The decision for a version, and what it rests on.

    `why` is what its code cannot do on the schema as it is. `undone` are the migrations to undo,
    newest first, down to `targets`; `kept` the tables among what they drop whose rows are copied
    first, and `runs_code` those whose reverse is code or SQL of their authors: whether that loses
    something can be told only while it is done. `obstacles` say why nothing is undone, and `backup`
    is then the newest one on whose schema its code works, None where none is known.
    """

    alias: str
    release: Release
    decision: Decision
    why: Sequence[CheckMessage] = ()
    targets: Sequence[Target] = ()
    undone: Sequence[str] = ()
    kept: Sequence[str] = ()
    runs_code: Sequence[str] = ()
    obstacles: Sequence[Obstacle] = field(default=())
    backup: Backup | None = None

    @property
    def version(self) -> str:
        """The older release."""
        return self.release.version


def find_way_back(alias: str, version: str) -> WayBack:
    """Compare what a version needs with the schema as it is, and decide.

    Raises ReleaseRefused where it is this code's own version, where what it needs is not known, or
    where the schema is not known to this code, and OtherMigrate where the project migrates
    otherwise.
    """
    if version == code_version():
        raise ReleaseRefused(
            f"{version} is the version of this code: there is no way back to it. Nothing was "
            "changed. Name one that is older."
        )
    refuse_other_migrate(alias)
    connection = connections[alias]
    ensure_connection(connection)
    history = History(load_executor(connection))
    _require_all_migrations(history.executor.loader, alias)
    release, code = recorded_release(alias, version)
    made = expected_schema(connection, history.state)
    why = [*findings_of(connection, history.state, code), *gone_by_hand(alias, code, made)]
    if _works(why):
        return WayBack(alias=alias, release=release, decision=Decision.CODE_ONLY, why=why)
    return _down(alias, release, code, history, why)


def _down(
    alias: str, release: Release, code: Code, history: History, why: Sequence[CheckMessage]
) -> WayBack:
    """Whether migrations can be undone without a loss; else which backup to restore."""
    targets = _targets(history.executor.loader, release)
    try:
        todo = todo_back(history, targets)
        in_the_way = [*_in_the_way(alias, todo, release, code), *_by_hand(why)]
    except PlanRefused as error:
        todo, in_the_way = None, [Obstacle(f"Release {release.version}", str(error).rstrip("."))]
    facts: dict[str, Any] = {"alias": alias, "release": release, "why": why, "targets": targets}
    facts["undone"] = [str(step) for step in todo.plan.steps] if todo else []
    if todo and not in_the_way:
        facts["runs_code"] = [str(step) for step in todo.plan.steps if step.runs_code]
        return WayBack(**facts, decision=Decision.REVERSE, kept=tables_to_keep(alias, todo))
    backup = _backup_for(alias, code)
    return WayBack(**facts, decision=Decision.RESTORE, obstacles=in_the_way, backup=backup)


def _in_the_way(alias: str, todo: Todo, release: Release, code: Code) -> list[Obstacle]:
    """Why undoing loses something, or is not enough."""
    if release.ends_with is None:
        why = "its last migrations are not known: another version of deploy_ops released it"
        return [Obstacle(f"Release {release.version}", why)]
    undone = {step.key for step in todo.plan.steps}
    applied = todo.history.executor.loader.applied_migrations.keys() - undone
    then = findings_then(connections[alias], applied, datetime.now(UTC), code)
    still = [each.msg.rstrip(".") for each in then if each.level >= ERROR]
    return [
        *obstacles(alias, todo, code.needs),
        *(Obstacle(f"With all undone that came after {release.version}", each) for each in still),
    ]


def _by_hand(why: Iterable[CheckMessage]) -> Iterator[Obstacle]:
    """What no migration brings back."""
    for each in why:
        if each.id == BY_HAND:
            yield Obstacle("By hand", each.msg.rstrip("."))


def _works(findings: Iterable[CheckMessage]) -> bool:
    return all(each.level < ERROR for each in findings)


def recorded_release(alias: str, version: str) -> tuple[Release, Code]:
    """A version as it was released into a database, and what its code needs; ReleaseRefused."""
    key = database_for(alias).identify().key
    release, recorded = release_of(key, version), schema_of(key, version)
    if recorded is None and release is not None:
        raise ReleaseRefused(
            f"What {version} needs of the schema is not known: its record, schemas/"
            f"{release.schema}.json in DEPLOY_OPS_STATE_DIR, is gone or damaged. Nothing was "
            "changed. Put it back from a copy of that directory, or deploy a new release."
        )
    if recorded is None:
        known = ", ".join(released_versions(key)) or "none"
        raise ReleaseRefused(
            f"What {version} needs of the schema is not known: it was not released into this "
            f"database from this host. Releases known here: {known}. Nothing was changed."
        )
    try:
        if release is None:
            raise KeyError(version)
        needs = Snapshot.from_json(recorded)
        return release, Code(version, needs, is_old=True, is_running=False)
    except (KeyError, TypeError) as error:
        raise ReleaseRefused(
            f"What {version} needs of the schema was recorded by another version of deploy_ops. "
            "Nothing was changed."
        ) from error


def _require_all_migrations(loader: MigrationLoader, alias: str) -> None:
    """Raise ReleaseRefused where the database has more than this code knows of its own apps."""
    if unknown := _unknown(loader, loader.applied_migrations):
        app, name = min(unknown)
        prune = manage("migrate", app, "--prune", alias=alias)
        raise ReleaseRefused(
            f"{app}.{name} is applied and not in this code, so this code cannot tell what the "
            "schema is like. Nothing was changed. Run this in the newest release that was "
            f"deployed. If migrations were squashed and this is a leftover:\n{prune}"
        )


def _unknown(loader: MigrationLoader, applied: Iterable[Key]) -> list[Key]:
    """Those that the code does not have, of the apps that it has."""
    disk = loader.disk_migrations or {}
    replaced = {tuple(key) for each in disk.values() for key in each.replaces}
    known = disk.keys() | replaced
    return [key for key in applied if key not in known and key[0] in loader.migrated_apps]


def _targets(loader: MigrationLoader, release: Release) -> Sequence[Target]:
    """For each app the last migration that the release has; None for apps that came later."""
    ends = dict(release.ends_with or ())
    apps = loader.migrated_apps - {OURS}
    newer = {app for app, _ in loader.applied_migrations} - ends.keys()
    return [(app, ends.get(app)) for app in sorted(apps & (ends.keys() | newer))]


def _backup_for(alias: str, code: Code) -> Backup | None:
    """The newest backup on whose schema the code works."""
    identity, works = database_for(alias).identify(), Carrying(alias, code)
    ours = [each for each in complete_backups() if each.belongs_to(identity)]
    return next(filter(works, reversed(ours)), None)


class Carrying:
    """Whether a code works on the schema that a backup has; equal schemas are looked at once."""

    def __init__(self, alias: str, code: Code) -> None:
        self._connection = connections[alias]
        self._code = code
        self._loader = MigrationLoader(self._connection)
        self._contracts = [row.done_at for row in done_rows(self._connection) if row.done_at]
        self._restores = restores_of(conf.state_dir, database_for(alias).identify().name)
        self._seen: dict[tuple[Set[Key], int], bool] = {}

    def __call__(self, backup: Backup) -> bool:
        applied, at = frozenset(backup.manifest.migrations), backup.created_at
        if _unknown(self._loader, applied) or not is_of_this_past(backup.id, self._restores):
            return False  # what those have done, or a time that was undone, is not known here
        state = applied, sum(done > at for done in self._contracts)
        if state not in self._seen:
            found = findings_then(self._connection, applied, at, self._code)
            self._seen[state] = _works(found)
        return self._seen[state]


def backup_of(way: WayBack, text: str) -> Backup:
    """The backup that was asked for, `latest` being the newest on which the release works.

    Raises BackupNotFound, RestoreRefused where it does not work on that one either.
    """
    code = recorded_release(way.alias, way.version)[1]
    if text == "latest":
        newest = _backup_for(way.alias, code)
        if newest is None:
            raise BackupNotFound(
                f"No backup is known on whose schema {way.version} works. Nothing was changed. "
                f"See those there are:\n{manage('backups', 'list', alias=way.alias)}"
            )
        return newest
    backup = find_backup(way.alias, text)
    if not Carrying(way.alias, code)(backup):
        raise RestoreRefused(
            f"{way.version} does not work on the schema of backup {backup.id} either, or that is "
            "not known here. Nothing was changed. The newest on which it does:\n"
            + manage("rollback", "--to", f"v{way.version}", "--plan", alias=way.alias)
        )
    return backup
