"""Whether an older release works on the schema, as it is or will be: by what it said it needs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.core.checks import ERROR, CheckMessage, Info
from django.core.checks import Warning as Caution
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from deploy_ops.advice import manage
from deploy_ops.databases import database_for
from deploy_ops.errors import ReleaseRefused
from deploy_ops.history import (
    Release,
    released_versions,
    releases_after,
    schema_of,
    version_before,
)
from deploy_ops.migrate.reversal import Reversal
from deploy_ops.migrate.run import History, Todo
from deploy_ops.migrate.targets import ensure_connection, load_executor
from deploy_ops.phases.both_codes import findings_of
from deploy_ops.phases.compat import Code
from deploy_ops.phases.snapshot import Snapshot
from deploy_ops.version import code_version


class Decision(StrEnum):
    """What a way back takes."""

    CODE_ONLY = "code_only"
    SCHEMA_FIRST = "schema_first"


@dataclass(frozen=True, slots=True)
class WayBack:
    """The decision, why, and for SCHEMA_FIRST what brings the schema back.

    `targets` are the last migrations of each app that the older release had, `backup` is the one
    that was taken before the first release after it, if there was one.
    """

    version: str
    decision: Decision
    why: Sequence[CheckMessage]
    targets: Sequence[tuple[str, str]] = ()
    backup: str | None = None


def find_way_back(alias: str, version: str) -> WayBack:
    """Compare what a version needs with the schema as it is.

    Only the newer release can tell: the older one lacks the migrations that came after it. Raises
    ReleaseRefused where it was not released into this database from this host.
    """
    connection = connections[alias]
    ensure_connection(connection)
    key = database_for(alias).identify().key
    code = _recorded_code(key, version)
    history = History(load_executor(connection))
    why = findings_of(connection, history.state, code)
    if all(finding.level < ERROR for finding in why):
        return WayBack(version, Decision.CODE_ONLY, why)
    since = releases_after(key, version)
    targets = _targets(history.executor.loader, since)
    return WayBack(version, Decision.SCHEMA_FIRST, why, targets, _backup_before(since))


def way_back_findings(alias: str, todo: Todo) -> Iterator[CheckMessage]:
    """Say what the way back from this release takes once its migrations are applied (R013)."""
    key = database_for(alias).identify().key
    version = version_before(key, code_version())
    if version is None:
        yield Info(
            "No release before this one was recorded for this database on this host. What the way "
            "back takes is not known.",
            id="deploy_ops.R013",
        )
        return
    try:
        code = _recorded_code(key, version)
    except ReleaseRefused as error:
        yield Caution(f"{error} What the way back takes is not known.", id="deploy_ops.R013")
        return
    migrations = [migration for migration, _ in todo.migrations]
    found = findings_of(connections[alias], todo.history.state, code, migrations)
    reasons = [finding.msg for finding in found if finding.level >= ERROR]
    if not reasons:
        yield Info(f"The way back to {version} takes code only.", id="deploy_ops.R013")
        return
    lost = [
        f"{step} ({step.reversal})"
        for step in todo.plan.steps
        if step.reversal is not Reversal.LOSSLESS
    ]
    yield Caution(
        f"The way back to {version} takes more than code:\n"
        + "\n".join(reasons)
        + f"\nTo undo: {', '.join(lost) or 'nothing that loses data'}.",
        hint="Put off what it still needs (Contract), or be ready to take the schema back:\n"
        f"{manage('safe_migrate', '--plan', alias=alias)}",
        id="deploy_ops.R013",
    )


def _recorded_code(database: str, version: str) -> Code:
    """What a version needs, as recorded at its release into a database; raises ReleaseRefused."""
    recorded = schema_of(database, version)
    if recorded is None:
        known = ", ".join(released_versions()) or "none"
        raise ReleaseRefused(
            f"What {version} needs of the schema is not known: it was not released into this "
            f"database from this host. Known are {known}. Nothing was changed."
        )
    try:
        return Code(version, Snapshot.from_json(recorded), is_old=True)
    except (KeyError, TypeError) as error:
        raise ReleaseRefused(
            f"What {version} needs of the schema was recorded by another version of deploy_ops. "
            "Nothing was changed."
        ) from error


def _targets(loader: MigrationLoader, since: Iterable[Release]) -> Sequence[tuple[str, str]]:
    """For each app that has got migrations since: the last one before them, or "zero"."""
    newer = {tuple(key) for release in since for key in release.applied}
    apps = sorted({app for app, _ in newer})
    return [(app, _last_before(loader, app, newer)) for app in apps]


def _last_before(loader: MigrationLoader, app: str, newer: set[tuple[str, ...]]) -> str:
    plan = [
        key for leaf in loader.graph.leaf_nodes(app) for key in loader.graph.forwards_plan(leaf)
    ]
    older = [key for key in plan if key[0] == app and key not in newer]
    return older[-1][1] if older else "zero"


def _backup_before(since: Sequence[Release]) -> str | None:
    return next((release.backup for release in since if release.applied), None)


def describe(way: WayBack, alias: str) -> str:
    """The decision for people, with the next command."""
    reasons = "".join(f"\n{finding.msg}" for finding in way.why)
    if way.decision is Decision.CODE_ONLY:
        return (
            f"{way.version} works on the schema as it is: only code has to go back.{reasons}\n"
            f"Nothing was changed. Next:\n    ./deploy.sh --rollback --to v{way.version}"
        )
    steps = "\n".join(manage("safe_migrate", *target, alias=alias) for target in way.targets)
    text = (
        f"{way.version} does not work on the schema as it is:{reasons}\nNothing was changed. Its "
        f"migrations were these; each command says with --plan what it would lose:\n{steps}"
    )
    if way.backup:
        restore = manage("restore", way.backup, alias=alias)
        text += f"\nOr, losing what was written since, the backup from before:\n{restore}"
    return text
