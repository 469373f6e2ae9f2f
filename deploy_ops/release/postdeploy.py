"""After the switch: what should hold now (R011, R012, R017 to R020), and the release is noted."""

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as Caution
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import SmokeTestFailed
from deploy_ops.migrate.finish import remember
from deploy_ops.migrate.history import History
from deploy_ops.migrate.journal import new_run_id
from deploy_ops.migrate.procedure import plan_of
from deploy_ops.migrate.run import Request
from deploy_ops.phases.instances import Facts, look
from deploy_ops.phases.session_name import release_tag
from deploy_ops.release.client import Client
from deploy_ops.release.monitoring import compare, figures_before, look_at_metrics
from deploy_ops.version import code_version


def look_after(alias: str, url: str, metrics: str | None = None) -> Iterator[CheckMessage]:
    """Say what is not as it should be after a release; `metrics` is where the instance has them."""
    yield from _migrations(alias)
    yield from _version(url)
    yield from _instances(alias)
    page, findings = look_at_metrics(metrics)
    yield from findings
    if page:
        yield compare(page, figures_before())


def _migrations(alias: str) -> Iterator[CheckMessage]:
    todo = plan_of(Request(alias=alias))
    if missing := todo.migrations:
        names = ", ".join(f"{each.app_label}.{each.name}" for each, _ in missing)
        yield Error(
            f"Not applied: {names}.",
            hint=f"Apply them:\n{manage('safe_migrate', alias=alias)}",
            id="deploy_ops.R011",
        )
    if foreign := list(_of_newer_code(todo.history)):
        yield Info(
            f"The database has migrations that this code does not have: {', '.join(foreign)}.",
            hint="That is normal after going back to an older release. If you did not, another "
            "release has migrated this database:\n"
            f"{manage('showmigrations', alias=alias)}",
            id="deploy_ops.R020",
        )


def _of_newer_code(history: History) -> Iterator[str]:
    """Those of apps that are installed; a squash stands for what it replaces."""
    loader = history.executor.loader
    known = {key for each in history.by_key.values() for key in each.replaces} | {*history.by_key}
    for app, name in sorted(loader.applied_migrations):
        if app in loader.migrated_apps and (app, name) not in known:
            yield f"{app}.{name}"


def _version(url: str) -> Iterator[CheckMessage]:
    try:
        found = str(Client(url).get(f"{conf.health_path}/").json().get("version"))
    except SmokeTestFailed as error:
        found = str(error)
    if found.removeprefix("v") != code_version().removeprefix("v"):
        yield Error(
            f"{url} is answered by another version than {code_version()}: {found}.",
            hint="See which release gets the requests:\n    ./deploy.sh --status",
            id="deploy_ops.R012",
        )


def _instances(alias: str) -> Iterator[CheckMessage]:
    """What the database knows of: SQLite knows nobody."""
    database = database_for(alias)
    if database.vendor == "postgresql":
        yield instance_finding(look(database))


def instance_finding(facts: Facts) -> CheckMessage:
    """Say of which release each process is, from the facts alone (R018)."""
    ours = release_tag(facts.running)
    others = [each for each in facts.processes if each.release != ours]
    count = len(facts.processes) - len(others)
    told = f"Connected or seen lately of {facts.running}: {count}"
    if not others:
        return Info(f"{told}; of other releases: none.", id="deploy_ops.R018")
    listed = "\n".join(f"- {each.release or 'unknown'}: {each.what}" for each in others)
    if any(each.is_connected for each in others):
        return Caution(
            f"{told}. Another release, or one that is not known, is still at work:\n{listed}",
            hint="Restart what should run this release, such as workers and timers.",
            id="deploy_ops.R018",
        )
    return Info(
        f"{told}. Others were seen lately and are not connected now, so that they may have "
        f"ended:\n{listed}",
        id="deploy_ops.R018",
    )


def note_release(alias: str) -> None:
    """Add this release to the history with what it needs, also if it had nothing to migrate."""
    leaves = MigrationLoader(connections[alias]).graph.leaf_nodes()
    remember(new_run_id(), alias, None, [], leaves)
