"""Whether an older release works on the schema as it is: decided by what it said that it needs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.core.checks import ERROR, CheckMessage
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from deploy_ops.advice import manage
from deploy_ops.databases import database_for
from deploy_ops.errors import ReleaseRefused
from deploy_ops.history import Release, released_versions, releases_after, schema_of
from deploy_ops.migrate.run import History
from deploy_ops.migrate.targets import ensure_connection, load_executor
from deploy_ops.phases.both_codes import findings_now
from deploy_ops.phases.compat import Code
from deploy_ops.phases.snapshot import Snapshot


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
    recorded = schema_of(key, version)
    if recorded is None:
        known = ", ".join(released_versions()) or "none"
        raise ReleaseRefused(
            f"What {version} needs of the schema is not known: it was not released into this "
            f"database from this host. Known are {known}. Nothing was changed."
        )
    try:
        code = Code(version, Snapshot.from_json(recorded), is_old=True)
    except (KeyError, TypeError) as error:
        raise ReleaseRefused(
            f"What {version} needs of the schema was recorded by another version of deploy_ops. "
            "Nothing was changed."
        ) from error
    history = History(load_executor(connection))
    why = findings_now(connection, history.state, code)
    if all(finding.level < ERROR for finding in why):
        return WayBack(version, Decision.CODE_ONLY, why)
    since = releases_after(key, version)
    targets = _targets(history.executor.loader, since)
    return WayBack(version, Decision.SCHEMA_FIRST, why, targets, _backup_before(since))


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
